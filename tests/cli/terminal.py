"""What a person at a terminal sees: a command at a pseudo-terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from tests.root import source_root


@dataclass
class Terminal:
    """A command at a pseudo-terminal, and what it has written to it so far."""

    process: subprocess.Popen[bytes]
    keyboard: int
    shown: str = ""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def read(self, descriptor: int) -> None:
        try:
            self.shown += os.read(descriptor, 65_536).decode(errors="replace")
        except OSError:  # the other end is closed
            asyncio.get_running_loop().remove_reader(descriptor)
        self._changed.set()

    def press(self, keys: str) -> None:
        """What a person types."""
        os.write(self.keyboard, keys.encode())

    def hang_up(self) -> None:
        """The terminal goes away. Nobody has a session on it, so the kernel sends no SIGHUP."""
        asyncio.get_running_loop().remove_reader(self.keyboard)
        os.close(self.keyboard)
        self.keyboard = -1

    async def until(self, text: str) -> None:
        async with asyncio.timeout(60):
            while text not in self.shown:
                self._changed.clear()
                await self._changed.wait()

    async def code(self) -> int:
        return await asyncio.wait_for(asyncio.to_thread(self.process.wait), 60)


@contextlib.asynccontextmanager
async def terminal(environment: Mapping[str, str], *command: str) -> AsyncIterator[Terminal]:
    """A command that runs at a pseudo-terminal while the block does."""
    ours, theirs = pty.openpty()
    shape = {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30"}
    process = subprocess.Popen(
        command,
        cwd=source_root(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment, **shape},
        start_new_session=True,
    )
    os.close(theirs)
    shown = Terminal(process, ours)
    asyncio.get_running_loop().add_reader(ours, shown.read, ours)
    try:
        yield shown
    finally:
        process.kill()
        process.wait()
        if shown.keyboard == ours:
            shown.hang_up()
