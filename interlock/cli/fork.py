"""``interlock fork``: a new run from another's conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from interlock.cli.options import Common, Misused, RunId, valid
from interlock.cli.session import connected
from interlock.cli.view import View

if TYPE_CHECKING:
    from interlock.client import Interlock


def fork(
    run: RunId,
    /,
    *,
    step: Annotated[int, Parameter(help="Go on from before this step of the run; interlock trace RUN numbers them.")],
    message: Annotated[
        str | None, Parameter(help="What to tell the model as well. A run that has answered is asked this next.")
    ] = None,
    id: Annotated[str | None, Parameter(help="The new run's id; without it, one is made of agent and input.")] = None,
    follow: Annotated[
        bool, Parameter(negative="", show_default=False, help="Show the new run as it happens, and print its answer.")
    ] = False,
    common: Common = Common(),  # noqa: B008  # frozen
) -> int:
    """Start a new run from a run's conversation, as it stood before one of its steps.

    The run itself, under way or over, is left as it is. The new one has limits and spending of its own, and does not
    repeat the tool calls before that step. To ask a run that has answered something more, name the step after its
    last, and a message.
    """
    from interlock.contracts import Steer

    if step < 1:
        raise Misused("--step: it must be 1 or more.")
    if id is not None and not id.strip():
        raise Misused("--id: it must not be empty.")
    if message == "":
        raise Misused("--message: it must not be empty.")
    said = "" if message is None else valid(Steer, message=message).message
    view = View(common, follow)

    async def work(interlock: Interlock) -> int:
        forked = await interlock.fork(run, step, said, new_id=id)
        await view.heading(interlock, forked)
        return await view.to_the_end(interlock, forked) if follow else view.leave(forked)

    return view.interruptible(lambda: connected(common, work))
