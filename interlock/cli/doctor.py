"""``interlock doctor``: is everything there that a run needs, and what to do about what is not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from interlock.cli import BROKEN, OK, screen
from interlock.cli.options import Common, TaskQueue

if TYPE_CHECKING:
    from interlock.cli.checks import Check

MARKS = {"ok": "green", "failed": "red", "note": "yellow", "skipped": "dim"}


def doctor(*, task_queue: TaskQueue = None, common: Common = Common()) -> int:  # noqa: B008  # frozen
    """Check the server, the namespace, the workers, the keys and the Web UI, one per line.

    What is missing for a run is "failed", and the exit code 1. What a run can do without is a "note".
    """
    from interlock.cli.checks import examine

    common.apply()
    checks = asyncio.run(examine(task_queue))
    broken = any(check.state == "failed" for check in checks)
    if common.json:
        screen.write_json({"ok": not broken, "checks": [vars(check) for check in checks]})
    else:
        _show(checks)
    return BROKEN if broken else OK


def _show(checks: list[Check]) -> None:
    from rich.text import Text

    to = screen.console()
    width = max(len(check.name) for check in checks) + 2
    for check in checks:
        line = Text.assemble((f"{check.state:<9}", MARKS[check.state]), check.name.ljust(width), check.found)
        if check.remedy:
            line.append(f"; {check.remedy}")
        to.print(line, soft_wrap=True)
