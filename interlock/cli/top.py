"""``interlock top``: the whole fleet, live, on one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.cli import OK, screen
from interlock.cli.options import Common, Misused
from interlock.cli.session import connected, me

if TYPE_CHECKING:
    from interlock.client import Interlock


def top(*, common: Common = Common()) -> int:  # noqa: B008  # frozen
    """Watch all open runs, live: state, step, cost and age, with breakers, kills and accounts beside them.

    Keys: enter opens a run's transcript, t its trace, p pauses or resumes it, k kills it, a approves and r rejects a
    call that waits, / filters, s sorts, q quits. Needs the extra: pip install 'interlock[top]'.
    """
    if common.json:
        raise Misused("--output: interlock top is for a terminal; interlock list --json is for programs.")
    if not screen.is_live():
        raise Misused("interlock top needs a terminal; interlock list shows the same once.")
    from interlock.errors import InterlockError

    try:
        from interlock.top.app import Top
        from interlock.top.hangup import end_with_terminal
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "textual":
            raise
        raise InterlockError("interlock top needs textual; install it: pip install 'interlock[top]'") from None

    async def work(interlock: Interlock) -> int:
        end_with_terminal()
        await Top(interlock, me()).run_async()
        return OK

    return connected(common, work)
