"""Where calls wait for a worker: each kind that a limit was set for has a queue of its own beside the runs'.

    <queue>          runs, accounts, and whatever has no limit
    <queue>.models   calls of models   where workers were given --max-model-calls or --max-calls-per-second
    <queue>.tools    calls of tools    where they were given --max-tool-calls

A call beyond a limit then waits at the server, where the clock of its attempt does not run (that of a run with a time
budget does: ``seconds`` is a promise to whoever waits for the answer), and takes its turn by priority and user like
every other. In the queue of the runs it could not: a worker learns what a task is when it has it. Calls without a
limit stay with the runs, because the server hands such a call over together with the decision that asks for it, which
saves a third of its work.

Which queue a call goes to is chosen by the worker that decides, as time-outs are: it is no part of a replay. Every
worker listens on all three, so that a call finds one whatever the others were told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from temporalio import workflow
from temporalio.worker import (
    Interceptor,
    StartActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from interlock.ports import TOOL_PREFIX

Kind: TypeAlias = Literal["models", "tools"]


@dataclass(frozen=True)
class Limits:
    """What one worker takes on at the same time. ``None``: as much as comes.

    runs              open runs in its memory; of those beyond, one that goes on is rebuilt from its history
    model_calls       calls of models
    tool_calls        calls of tools
    calls_per_second  calls of models, all workers of the queue together; kept by the server"""

    runs: int | None = None
    model_calls: int | None = None
    tool_calls: int | None = None
    calls_per_second: float | None = None

    @property
    def apart(self) -> frozenset[Kind]:
        """The kinds of calls that wait in queues of their own."""
        models = self.model_calls is not None or self.calls_per_second is not None
        kinds: dict[Kind, bool] = {"models": models, "tools": self.tool_calls is not None}
        return frozenset(kind for kind, limited in kinds.items() if limited)


def queue_of(queue: str, kind: Kind) -> str:
    return f"{queue}.{kind}"


def kind_of(activity: str) -> Kind | None:
    """Which kind of call an activity is; ``None``: it is none, and never waits apart."""
    if activity.startswith(TOOL_PREFIX):
        return "tools"
    return "models" if activity == "model" else None


class Apart(Interceptor):
    """Sends the calls of some kinds to the queues of those kinds."""

    def __init__(self, queue: str, kinds: frozenset[Kind]) -> None:
        self._queues = {kind: queue_of(queue, kind) for kind in kinds}

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        queues: Mapping[Kind, str] = self._queues

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound))

        class Outbound(WorkflowOutboundInterceptor):
            def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
                if (kind := kind_of(input.activity)) is not None:
                    input.task_queue = queues.get(kind, input.task_queue)
                return self.next.start_activity(input)

        return Inbound
