"""``interlock approve`` and ``reject``: a person's answer to a call that waits for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from interlock.cli import OK, screen
from interlock.cli.options import Common, RunId, valid
from interlock.cli.session import connected, me, soon

if TYPE_CHECKING:
    from interlock.client import Interlock

CallId: TypeAlias = Annotated[str, Parameter(help="The call's id, as interlock status RUN shows it.")]
Why: TypeAlias = Annotated[str, Parameter(show_default=False, help="Why; the model is told of a rejection.")]


def approve(run: RunId, call: CallId, /, *, reason: Why = "", common: Common = Common()) -> int:  # noqa: B008
    """Let a call that waits be made, with the arguments it has now.

    Of a call that did not report back: say that it did take effect.
    """
    return _decide(common, run, call, reason, yes=True)


def reject(run: RunId, call: CallId, /, *, reason: Why = "", common: Common = Common()) -> int:  # noqa: B008
    """Keep a call that waits from being made; the model is told.

    Of a call that did not report back: say that it did not take effect.
    """
    return _decide(common, run, call, reason, yes=False)


def _decide(common: Common, run: str, call: str, reason: str, *, yes: bool) -> int:
    from interlock.contracts import Decision
    from interlock.present import one_line

    given = valid(Decision, call_id=call, approve=yes, reason=reason, by=me())

    async def work(interlock: Interlock) -> int:
        target = interlock.get(run)
        # What waits is asked for first: the answer is for these arguments and no others, and this says which.
        waiting = {each.call_id: each for each in (await soon(target.status())).pending_approvals}
        pending = waiting.get(call)
        hashed = pending.arguments_hash if pending else None
        await soon(target.decide(call, yes, given.reason, given.by, arguments_hash=hashed))
        verdict = "approved" if yes else "rejected"
        if common.json:
            screen.write_json({"run": run, "call": call, "verdict": verdict, "arguments_hash": hashed})
        else:
            what = f": {one_line(pending.summary)}" if pending else ""
            screen.console().print(f"{verdict} {call} of {run}{what}", soft_wrap=True)
        return OK

    return connected(common, work)
