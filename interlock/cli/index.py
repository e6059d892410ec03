"""Runs as the server's index knows them: by their search attributes, with no worker asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Self, TypeVar, get_args

from temporalio.client import WorkflowExecution, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey

from interlock import search_attributes as sa
from interlock.contracts import Outcome, RunStatus, State, Usage

V = TypeVar("V", str, int, float)


@dataclass(frozen=True)
class Found:
    """One execution of a run. ``outcome``: Interlock's word, else how Temporal says it ended; empty while it runs."""

    run: str
    run_id: str
    agent: str
    user: str
    state: str
    outcome: str
    model: str
    steps: int
    tool_calls: int
    usd: float
    started: datetime
    closed: datetime | None

    @classmethod
    def of(cls, execution: WorkflowExecution) -> Self:
        known = execution.typed_search_attributes

        def value(key: SearchAttributeKey[V], otherwise: V) -> V:
            found = known.get(key)
            return otherwise if found is None else found

        under_way = execution.status is WorkflowExecutionStatus.RUNNING
        return cls(
            run=execution.id,
            run_id=execution.run_id,
            agent=value(sa.AGENT_NAME, ""),
            user=value(sa.AGENT_USER, ""),
            state=value(sa.AGENT_STATE, "starting") if under_way else "closed",
            outcome="" if under_way else value(sa.AGENT_OUTCOME, _ended(execution)),
            model=value(sa.AGENT_MODEL, ""),
            steps=value(sa.AGENT_STEPS, 0),
            tool_calls=value(sa.AGENT_TOOL_CALLS, 0),
            usd=value(sa.AGENT_COST_USD, 0.0),
            started=execution.start_time,
            closed=execution.close_time,
        )

    @property
    def ended(self) -> str | None:
        """How the run ended, also when it never said so itself; ``None``: it is under way."""
        return self.outcome or None

    def status(self) -> RunStatus:
        """The part of a run's status that the index knows."""
        cost = Decimal(str(self.usd)).normalize()
        return RunStatus(
            run=self.run,
            agent=self.agent,
            user_id=self.user,
            state=self.state if self.state in get_args(State) else "running",
            outcome=self.outcome if self.outcome in get_args(Outcome) else None,
            step=self.steps,
            tool_calls=self.tool_calls,
            model=self.model or None,
            spent={"usd": f"{cost:f}", "steps": str(self.steps), "tool_calls": str(self.tool_calls)},
            usage=Usage(usd=cost),
        )

    def as_json(self) -> dict[str, Any]:
        times = {"started": self.started.isoformat(), "closed": self.closed.isoformat() if self.closed else None}
        return {**vars(self), **times}

    def age(self) -> timedelta:
        return datetime.now(UTC) - self.started


def _ended(execution: WorkflowExecution) -> str:
    status = execution.status.name if execution.status is not None else "unknown"
    return {"CANCELED": "cancelled", "TIMED_OUT": "timed out"}.get(status, status.lower())


def where(user: str | None, state: str | None, query: str) -> str:
    """A Temporal list filter. What a run was before it continued as new is not another run."""
    parts = ["ExecutionStatus != 'ContinuedAsNew'"]
    if user is not None:
        parts += sa.of_user(user)
    if state == "closed":
        parts.append("ExecutionStatus != 'Running'")  # also those that ended before they could say so
    elif state is not None:
        parts.append(f"{sa.AGENT_STATE.name} = '{state}' AND ExecutionStatus = 'Running'")
    if query:
        parts.append(f"({query})")
    return " AND ".join(parts)


async def matching(executions: AsyncIterator[WorkflowExecution], user: str | None, most: int) -> list[Found]:
    """The first ``most`` of ``executions`` that are of ``user``, or of anybody."""
    found: list[Found] = []
    async for execution in executions:
        each = Found.of(execution)
        if user is None or each.user == user:
            found.append(each)
        if len(found) == most:
            break
    return found
