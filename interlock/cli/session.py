"""From flags to a connected client, and from errors to one line on stderr and an exit code."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from cyclopts import CycloptsError, UnusedCliTokensError

from interlock.cli import BROKEN, MISUSED
from interlock.cli.options import Common, Misused
from interlock.errors import BadKey, InterlockError, NoServer, NoWorker

if TYPE_CHECKING:
    from interlock.client import Interlock

T = TypeVar("T")

ANSWERED_WITHIN = 2.5
"""Seconds to wait for a worker to answer for its run. Rebuilding a long one takes a fraction of that."""


def carry_out(argv: Sequence[str]) -> int:
    """Carry out a command line; returns its exit code."""
    from interlock.cli.app import build

    app = build()
    try:
        code = app(list(argv), exit_on_error=False, print_error=False, result_action="return_value")
    except (CycloptsError, Misused) as error:
        said = str(error)
        if isinstance(error, UnusedCliTokensError):
            said = f"unexpected: {' '.join(error.unused_tokens or ())}"
        command = " ".join(("interlock", *app.parse_commands(list(argv))[0]))
        complain(f"{said if said.endswith('...') else said.rstrip('.')}; see {command} --help")
        return MISUSED
    except BadKey as error:
        complain(str(error))
        return MISUSED
    except InterlockError as error:
        complain(str(error))
        return BROKEN
    return code if isinstance(code, int) else 0


def complain(message: str) -> None:
    """One line on stderr."""
    from interlock.present import one_line

    print(f"interlock: {one_line(message)}", file=sys.stderr)


def connected(common: Common, work: Callable[[Interlock], Awaitable[int]], queue: str | None = None) -> int:
    """Do ``work`` with a client of the server that the flags and the environment name."""
    common.apply()

    async def begin() -> int:
        from temporalio.service import RPCError, RPCStatusCode

        from interlock.client import Interlock

        try:
            return await work(await Interlock.connect(queue))
        except RPCError as error:
            if error.status is RPCStatusCode.UNAVAILABLE:
                raise NoServer(
                    "the Temporal server has stopped answering; no run is lost, each goes on when it is back"
                ) from error
            raise InterlockError(f"the Temporal server refused: {error.message}") from error

    return asyncio.run(begin())


async def soon(answer: Awaitable[T]) -> T:
    """The answer of a worker. Raises ``NoWorker`` when none comes while a person would still wait."""
    try:
        return await asyncio.wait_for(answer, ANSWERED_WITHIN)
    except TimeoutError:
        raise NoWorker("no worker answers for this run; start one: python worker.py") from None


def me() -> str:
    """Who is at the keyboard, for the history."""
    try:
        return getpass.getuser()[:200]
    except (KeyError, OSError):  # a container's user often has no name
        return "cli"
