"""Processes of the programs under test that begin at once: forked from one that has imported what they import.

They are processes like any others, with an environment, a directory, streams and signals of their own, and can be
SIGKILLed. All they save is the second or two of imports, of which the tests would pay several hundred.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import runpy
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Literal, TypeAlias

from tests.root import source_root

Program: TypeAlias = Literal["worker.py", "interlock"]

_FORKING = get_context("forkserver")
_FORKING.set_forkserver_preload(["tests.preloaded"])


@dataclass(frozen=True)
class Warm:
    """A process under way."""

    process: ForkServerProcess

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        if self.returncode is None:
            loop.add_reader(self.process.sentinel, ended.set)
            try:
                await ended.wait()
            finally:
                loop.remove_reader(self.process.sentinel)
        self.process.join()
        assert self.returncode is not None
        return self.returncode


def begin(
    program: Program,
    arguments: tuple[str, ...],
    *,
    environment: Mapping[str, str],
    out: Path,
    err: Path,
    directory: Path | None = None,
) -> Warm:
    """Start a program, at the root of the repository unless told otherwise. What it writes is appended to files."""
    at = str(directory or source_root())
    streams = (os.devnull, str(out), str(err))
    process = _FORKING.Process(target=_run, args=(program, arguments, dict(environment), streams, at))
    process.start()
    return Warm(process)


def _run(
    program: Program, arguments: tuple[str, ...], environment: dict[str, str], streams: tuple[str, ...], at: str
) -> None:
    """In the new process: become what an interpreter that was started for the program would be."""
    os.chdir(at)
    os.environ.clear()
    os.environ.update(environment)
    for stream, path in enumerate(streams):
        opened = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(opened, stream)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.argv = [program, *arguments]
    try:
        match program:
            case "worker.py":
                runpy.run_path(str(source_root() / program), run_name="__main__")
            case "interlock":
                from interlock.cli import main

                main()
    finally:
        atexit._run_exitfuncs()  # an interpreter does it as it ends, a fork of multiprocessing does not: spans are sent
