"""``interlock trace``: what a run did when, for how long and for how much, from its history alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.cli import OK, screen
from interlock.cli.options import Common, RunId
from interlock.cli.session import connected

if TYPE_CHECKING:
    from interlock.client import Interlock


def trace(run: RunId, /, *, common: Common = Common()) -> int:  # noqa: B008  # frozen
    """What a run did, as a tree: its steps and calls, with durations, dollars, tokens, attempts and errors.

    Under way or over, from its history. Needs no worker, and nothing that collects traces. Where a call failed, the
    second line says why. What was charged and no call tells of has a line of its own.
    """

    async def work(interlock: Interlock) -> int:
        from datetime import UTC, datetime

        from interlock.cli import waterfall

        root = await interlock.trace(run)
        if common.json:
            screen.write_json({"run": run, **waterfall.as_json(root)})
            return OK
        to = screen.console()
        for line in waterfall.lines(root, datetime.now(UTC), to.width if to.is_terminal else None):
            to.print(line, soft_wrap=True)
        return OK

    return connected(common, work)
