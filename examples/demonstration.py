"""The demonstration itself: start everything, start a run, show its steps as they happen, then its answer.

What it shows of the run is what ``interlock run analyst "..."`` shows: the same code.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from temporalio.service import RPCError

from examples.demo import Settings
from examples.stack import PORT, UI_PORT, Broken, Stack, started
from interlock import AgentTask
from interlock.cli.options import Common
from interlock.cli.view import View
from interlock.client import Run
from interlock.errors import InterlockError
from interlock.present import one_line

PATIENCE = 180.0
"""Seconds for the answer; the agent's own limit is 120."""

HINT = "Ctrl-C stops everything; the run goes on at the next start"


def demonstrate(settings: Settings) -> int:
    """The exit code."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace", line_buffering=True)
    try:
        return asyncio.run(_until_interrupted(_demonstration(settings)))
    except RPCError as error:
        print(f"demo: the Temporal server does not answer any more: {one_line(error.message)}", file=sys.stderr)
    except (Broken, InterlockError, OSError) as error:
        print(f"demo: {one_line(str(error))}", file=sys.stderr)
    return 1


async def _until_interrupted(work: Coroutine[Any, Any, int]) -> int:
    """``work``, cancelled by the first signal, so that it stops what it started; later ones change nothing."""
    task = asyncio.ensure_future(work)

    def interrupt() -> None:
        if not task.cancelling():
            task.cancel()
            with suppress(OSError):  # the terminal may be what has gone
                print("\nStopping ...")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, interrupt)
    try:
        return await task
    except asyncio.CancelledError:
        return 130


async def _demonstration(settings: Settings) -> int:
    print("Starting a Temporal server and a worker ...")
    async with started(settings.state, "examples.analyst", settings.logs) as stack:
        _say_where(stack)
        os.environ["INTERLOCK_UI_URL"] = stack.server.ui  # for the links of this process
        print(f"\nQuestion   {settings.question}\nLog files  {settings.logs}\n")
        run = await stack.interlock.start(AgentTask(agent="analyst", input=settings.question, user_id="demo"))
        code = await _watch(stack, run)
        _say_what_next(stack, run, settings)
        if settings.stay:
            print("\nServing until Ctrl-C ...")
            with suppress(asyncio.CancelledError):  # which is how it ends
                await stack.worker_ended()
        return code


async def _watch(stack: Stack, run: Run) -> int:
    """Show the run to its end. Raises ``Broken`` when the worker ends before it, or nothing comes for too long."""
    view = View(Common(address=None if stack.usual else stack.server.address), follow=True, hint=HINT)
    await view.heading(stack.interlock, run)
    watched = asyncio.ensure_future(view.to_the_end(stack.interlock, run))
    ended = asyncio.ensure_future(stack.worker_ended())
    try:
        done, _ = await asyncio.wait({watched, ended}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if watched in done:
            return watched.result()
        if ended in done:
            ended.result()
        raise Broken(f"no answer within {PATIENCE:g} s; {stack.log} may say why")
    finally:
        for task in (watched, ended):
            task.cancel()
        await asyncio.gather(watched, ended, return_exceptions=True)


def _say_where(stack: Stack) -> None:
    if not stack.usual:
        print(f"Port {PORT} is in use: the server is at {stack.server.address}, its data in {stack.database}.")
    if not stack.server.ui.endswith(f":{UI_PORT}"):
        print(f"Port {UI_PORT} is in use: the Web UI is at {stack.server.ui}.")


def _say_what_next(stack: Stack, run: Run, settings: Settings) -> None:
    address = "" if stack.usual else f" --address {stack.server.address}"
    if settings.stay:
        print(f"\nThe run in the Web UI: {stack.link(run.id)}\nIn another terminal:")
    elif stack.database == Path(".interlock/temporal.db").resolve():
        print(f"\nIts history is kept. {_shown(Path(sys.executable))} worker.py --embedded serves it again; then:")
        address = ""
    else:
        print(f"\nIts history is kept in {stack.database}. Where a server runs on it:")
    command = _shown(Path(sys.executable).parent / "interlock")
    for rest in (f"transcript {run.id}", 'run analyst "When did it begin, and when was it over?"', "list"):
        print(f"  {command} {rest}{address}")


def _shown(path: Path) -> str:
    """A path as one would type it here."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
