"""What is said to a run under way: steer, pause, resume, extend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from interlock.cli import OK, screen
from interlock.cli.options import Common, Misused, Reason, RunId, Seconds, Steps, Tokens, ToolCalls, Usd, valid
from interlock.cli.session import connected, me, soon

if TYPE_CHECKING:
    from interlock.client import Interlock


def steer(
    run: RunId,
    message: Annotated[str, Parameter(help="What to tell the model. After --, it may begin with a dash.")],
    /,
    *,
    common: Common = Common(),  # noqa: B008
) -> int:
    """Tell the model something before its next turn."""
    from interlock.contracts import Steer

    said = valid(Steer, message=message, by=me())

    async def work(interlock: Interlock) -> int:
        await interlock.get(run).steer(said.message, said.by)
        return _sent(common, run, "steer", "the model hears it before its next turn")

    return connected(common, work)


def pause(run: RunId, /, *, reason: Reason = "", common: Common = Common()) -> int:  # noqa: B008
    """Make a run wait before its next call; what is in flight completes."""
    return _note(common, run, "pause", reason, "it waits before its next call")


def resume(run: RunId, /, *, reason: Reason = "", common: Common = Common()) -> int:  # noqa: B008
    """Make a paused run go on."""
    return _note(common, run, "resume", reason, "it goes on")


def extend(
    run: RunId,
    /,
    *,
    usd: Usd = None,
    tokens: Tokens = None,
    seconds: Seconds = None,
    steps: Steps = None,
    tool_calls: ToolCalls = None,
    common: Common = Common(),  # noqa: B008
) -> int:
    """Raise limits of a run under way, each to the figure given.

    A run that paused because its money is spent goes on. Where it was the money of an account that runs share, use
    interlock budget set, then interlock resume.
    """
    from interlock.contracts import Extension, Limits

    limits = valid(Limits, usd=usd, tokens=tokens, seconds=seconds, steps=steps, tool_calls=tool_calls)
    if not limits.model_dump(exclude_none=True):
        raise Misused("name at least one limit to raise: --usd, --tokens, --seconds, --steps or --tool-calls.")
    given = valid(Extension, limits=limits, by=me())

    async def work(interlock: Interlock) -> int:
        from interlock.cli.runs import show_status

        show_status(common, await soon(interlock.get(run).extend(given.limits, given.by)))
        return OK

    return connected(common, work)


def _note(common: Common, run: str, signal: str, reason: str, then: str) -> int:
    from interlock.contracts import Note

    note = valid(Note, reason=reason, by=me())

    async def work(interlock: Interlock) -> int:
        target = interlock.get(run)
        send = target.pause if signal == "pause" else target.resume
        await send(note.reason, note.by)
        return _sent(common, run, signal, then)

    return connected(common, work)


def _sent(common: Common, run: str, signal: str, then: str) -> int:
    if common.json:
        screen.write_json({"run": run, "sent": signal})
    else:
        screen.console().print(f"{signal} sent to {run}: {then}", soft_wrap=True)
    return OK
