"""``interlock run`` and ``interlock follow``: start a run, see it happen, get its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Parameter

from interlock.cli.options import (
    Common,
    Misused,
    Priority,
    RunId,
    Seconds,
    Steps,
    TaskQueue,
    Tokens,
    ToolCalls,
    Usd,
    valid,
)
from interlock.cli.session import connected
from interlock.cli.view import View

if TYPE_CHECKING:
    from interlock.client import Interlock

Complexity: TypeAlias = Literal["simple", "medium", "complex", "auto"]
Follow: TypeAlias = Annotated[
    bool | None, Parameter(help="Show each call as it happens (default in a terminal), or wait quietly for the answer.")
]


def run(
    agent: Annotated[str, Parameter(help="The agent's name.")],
    input: Annotated[str, Parameter(help="What it is asked. After --, it may begin with a dash.")],
    /,
    *,
    user: Annotated[str, Parameter(help="On whose behalf; an account user:{user_id} is this user's.")] = "anonymous",
    usd: Usd = None,
    tokens: Tokens = None,
    seconds: Seconds = None,
    steps: Steps = None,
    tool_calls: ToolCalls = None,
    complexity: Annotated[
        Complexity, Parameter(help="How hard the task is: it chooses the model. auto: the simple model judges.")
    ] = "medium",
    priority: Priority = 3,
    id: Annotated[str | None, Parameter(help="The run's id; without it, one is made of agent and input.")] = None,
    follow: Follow = None,
    detach: Annotated[
        bool,
        Parameter(
            negative="", show_default=False, help="Start the run and do not wait; interlock follow RUN shows it later."
        ),
    ] = False,
    task_queue: TaskQueue = None,
    common: Common = Common(),  # noqa: B008  # frozen
) -> int:
    """Start a run, show it as it happens, and print its answer.

    Limits given here may only be tighter than the agent's own. Ctrl-C stops watching; the run goes on.
    """
    from interlock.cli.workers import picked_up
    from interlock.contracts import AgentTask, Limits

    limits = valid(Limits, usd=usd, tokens=tokens, seconds=seconds, steps=steps, tool_calls=tool_calls)
    given = limits if limits.model_dump(exclude_none=True) else None
    asked = {"agent": agent, "input": input, "user_id": user, "complexity": complexity, "priority": priority}
    task = valid(AgentTask, **asked, limits=given)
    if id is not None and not id.strip():
        raise Misused("--id: it must not be empty.")
    view = View(common, follow)

    async def work(interlock: Interlock) -> int:
        started = await interlock.start(task, id=id)
        await view.heading(interlock, started)
        await picked_up(interlock, started)
        if detach:
            return view.leave(started)
        return await view.to_the_end(interlock, started)

    return view.interruptible(lambda: connected(common, work, task_queue))


def follow(run: RunId, /, *, common: Common = Common()) -> int:  # noqa: B008
    """Show a run as it happens, or as it happened, and print its answer. Ctrl-C stops watching."""
    view = View(common, follow=True)

    async def work(interlock: Interlock) -> int:
        found = interlock.get(run)
        await view.heading(interlock, found)
        return await view.to_the_end(interlock, found)

    return view.interruptible(lambda: connected(common, work))
