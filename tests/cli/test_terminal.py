"""What a person at a terminal sees: the live view, and Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import signal
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from interlock import Agent, Retry
from interlock.errors import Failure
from interlock.testing import Say, ScriptedModel
from tests.cli.conftest import COMMAND, CommandLine
from tests.conftest import Serve


@dataclass
class Terminal:
    """A command at a pseudo-terminal, and what it has written to it so far."""

    process: subprocess.Popen[bytes]
    shown: str = ""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def read(self, descriptor: int) -> None:
        try:
            self.shown += os.read(descriptor, 65_536).decode(errors="replace")
        except OSError:  # the other end is closed
            asyncio.get_running_loop().remove_reader(descriptor)
        self._changed.set()

    async def until(self, text: str) -> None:
        async with asyncio.timeout(20):
            while text not in self.shown:
                self._changed.clear()
                await self._changed.wait()

    async def code(self) -> int:
        return await asyncio.wait_for(asyncio.to_thread(self.process.wait), 20)


@contextlib.asynccontextmanager
async def terminal(cli: CommandLine, *arguments: str) -> AsyncIterator[Terminal]:
    ours, theirs = pty.openpty()
    environment = {**cli.environment, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30"}
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    os.close(theirs)
    shown = Terminal(process)
    asyncio.get_running_loop().add_reader(ours, shown.read, ours)
    try:
        yield shown
    finally:
        process.kill()
        process.wait()
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)


async def test_a_call_under_way_is_shown_with_its_attempt_and_a_finished_one_stays(
    serve: Serve, cli: CommandLine
) -> None:
    failing = Failure("ModelOverloaded", "529: overloaded", retry_after=1.5)
    model = ScriptedModel("cli-flaky", [Say(failure=failing)])
    agent = Agent(name="flaky", instructions="-", models=model.model, retry=Retry(attempts=2))
    async with serve(agent) as served, terminal(cli.on(served), "run", "flaky", "go") as screen:
        await screen.until("· attempt 2")
        await screen.until("529: overloaded")
        await screen.until("so far · Ctrl-C stops watching, not the run")
        assert await screen.code() == 1
        await screen.until("\x1b[31m✗")
        await screen.until("unavailable")
        assert "\x1b[?25h" in screen.shown  # the cursor is back


async def test_ctrl_c_stops_watching_and_not_the_run(serve: Serve, cli: CommandLine) -> None:
    model = ScriptedModel("cli-watched", [Say(text="late", delay=30)])
    async with serve(Agent(name="slow", instructions="-", models=model.model)) as served:
        async with terminal(cli.on(served), "run", "slow", "go", "--id", "watched") as screen:
            await screen.until("cli-watched · step 1")
            screen.process.send_signal(signal.SIGINT)
            assert await screen.code() == 130
            await screen.until("the run goes on. Watch it: interlock follow watched. End it: interlock kill watched")
            assert "Traceback" not in screen.shown
        run = served.interlock.get("watched")
        assert (await run.status()).state == "running"
        await run.kill()
        await run.result()
