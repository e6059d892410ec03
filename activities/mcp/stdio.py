"""An MCP server as a process of ours: the pipes, and the end of everything it has started.

The protocol is the ``mcp`` package's. The pipes are not, because of what a server may do: write a line without end
(here a line is bounded), write what is no message (here a log line, there a traceback for each), say why it ends on
stderr, and leave children behind when it ends by itself (here the process group is ended, always).
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from activities.mcp.diary import Diary
from interlock.mcp_server import McpServer

MOST_BYTES = 64 * 1024 * 1024
"""The longest message of a server: a longer one ends the connection, and not the worker's memory."""

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "USER", "LOGNAME", "TMPDIR", "TZ", "SYSTEMROOT")
_LEAVE_SECONDS = 2.0

Incoming: TypeAlias = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing: TypeAlias = MemoryObjectSendStream[SessionMessage]


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """What a server's process gets to see: where programs and files are, and what it was given. Not the worker's
    keys of model providers, nor anything else."""
    return {**{name: os.environ[name] for name in _PASSED_ON if name in os.environ}, **given}


class Stdio:
    """The process of one connection."""

    def __init__(self, server: McpServer, given: Mapping[str, str], diary: Diary, ended: asyncio.Event) -> None:
        self._server = server
        self._given = given
        self._diary = diary
        self._ended = ended
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def gone(self) -> bool:
        """Whether it is known to be dead, though the loop may not have noticed yet."""
        if self._process is None or self._process.stdin is None:
            return False
        pipe = self._process.stdin.transport
        if pipe.is_closing():
            return True
        poll = select.poll()
        poll.register(pipe.get_extra_info("pipe").fileno(), 0)
        return bool(poll.poll(0))

    @property
    def end(self) -> str:
        """How it ended, in words."""
        code = None if self._process is None else self._process.returncode
        if code is None:
            return "closed its output"
        return f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[tuple[Incoming, Outgoing]]:
        """Start it; the streams that a ``Client`` of the ``mcp`` package talks by."""
        self._process = process = await asyncio.create_subprocess_exec(
            *self._server.command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=environment(self._given),
            cwd=self._server.cwd,
            start_new_session=True,
            limit=MOST_BYTES,
        )
        to_client, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        outgoing, from_client = anyio.create_memory_object_stream[SessionMessage](0)
        pumps = [
            asyncio.create_task(self._read(process, to_client)),
            asyncio.create_task(self._write(process, from_client)),
            asyncio.create_task(self._listen(process)),
        ]
        try:
            yield incoming, outgoing
        finally:
            with anyio.CancelScope(shield=True):
                await self._stop(process)
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
                for stream in (to_client, incoming, outgoing, from_client):
                    stream.close()

    async def _read(self, process: Process, to_client: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                try:
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValueError:
                    self._diary.note("stdout", line[:20_000].decode(errors="replace"))
                    continue
                await to_client.send(SessionMessage(message))
        except ValueError:  # how asyncio says that a line is longer than its limit
            self._diary.note("stdout", f"a line of more than {MOST_BYTES} bytes")
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        finally:
            await _left(process, 0.5)  # so that an error can say how it ended
            self._ended.set()
            to_client.close()

    async def _write(self, process: Process, from_client: MemoryObjectReceiveStream[SessionMessage]) -> None:
        assert process.stdin is not None
        try:
            async for each in from_client:
                process.stdin.write(each.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                await process.stdin.drain()
        except (OSError, anyio.ClosedResourceError):
            self._ended.set()

    async def _listen(self, process: Process) -> None:
        assert process.stderr is not None
        begun = b""
        while piece := await process.stderr.read(65_536):
            *lines, begun = (begun + piece).split(b"\n")
            if len(begun) > 65_536:
                lines, begun = [*lines, begun], b""
            for line in lines:
                self._diary.note("stderr", line.decode(errors="replace"))
        self._diary.note("stderr", begun.decode(errors="replace"))

    async def _stop(self, process: Process) -> None:
        """As the protocol has it: no more input, some time to leave, then by force, with all it has started."""
        assert process.stdin is not None
        process.stdin.close()
        for seconds, number in ((_LEAVE_SECONDS, signal.SIGTERM), (_LEAVE_SECONDS, signal.SIGKILL)):
            if await _left(process, seconds):
                break
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
        # Whoever is left of its group; its own number cannot be another's while one of them lives.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await _left(process, _LEAVE_SECONDS)
        # Nothing public closes the pipes of a process whose output nobody reads to its end.
        if (transport := getattr(process, "_transport", None)) is not None:
            transport.close()


async def _left(process: Process, seconds: float) -> bool:
    """Whether the process has ended. Not by ``wait``: that waits for the pipes as well, which a child may hold."""
    try:
        async with asyncio.timeout(seconds):
            while process.returncode is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    except TimeoutError:
        return False
    return True
