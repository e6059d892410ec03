"""Agents that differ only in the budgets they are held to, and what the history says of one run of theirs."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from benchmarks.agent import AGENT, turn
from benchmarks.server import Bench
from interlock import Account, Agent, AgentTask, Limits, Price
from interlock.accounts import ledger_id
from interlock.testing import ScriptedModel

STEPS = 20
USER = "bench"
TRANCHES = 20
"""A run leases a twentieth of an account at a time, or one call's bound if that is more."""

SCRIPT = ScriptedModel("priced", turn, price=Price(input="3.00", output="15.00"))
PLAIN = replace(AGENT, models=SCRIPT.model, max_output_tokens=256)

LARGE = "1000"
VARIANTS = {
    "no limits": replace(PLAIN, name="plain"),
    "run limits": replace(
        PLAIN, name="limited", limits=Limits(steps=10_000, tool_calls=10_000, usd="10", tokens=10_000_000, seconds=600)
    ),
    "one account": replace(PLAIN, name="shared", accounts=[Account("user:{user_id}", usd=LARGE)]),
    "two accounts": replace(
        PLAIN,
        name="shared2",
        accounts=[Account("both:{user_id}", usd=LARGE), Account("team of {agent}", usd=LARGE, window="month")],
    ),
}
SMALL = {
    usd: replace(PLAIN, name=f"small{usd.replace('.', '-')}", accounts=[Account("small:{user_id}", usd=usd)])
    for usd in ("0.80", "1.00", "1.50", "4.00")
}


@dataclass(frozen=True)
class Charged:
    """One run. ``milliseconds``: of the run, and ``lease`` and ``settle`` of each such activity, by the server's
    clock. ``kinds``: its events by type."""

    milliseconds: float
    events: int
    usd: Decimal
    lease: list[float]
    settle: list[float]
    kinds: dict[str, int]


async def charged(server: Bench, agent: Agent, user: str = USER) -> Charged:
    run = await server.interlock.start(AgentTask(agent=agent.name, input=str(STEPS), user_id=user))
    result = await run.result()
    assert (result.outcome, result.steps, result.tool_calls) == ("completed", STEPS + 1, STEPS), result
    events = [event async for event in run.handle.fetch_history_events()]
    return Charged(
        milliseconds=_between(events[0], events[-1]),
        events=len(events),
        usd=result.usage.usd,
        lease=_activities(events, "lease"),
        settle=_activities(events, "settle"),
        kinds=dict(Counter(EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in events)),
    )


def another_user() -> str:
    return uuid.uuid4().hex[:8]


async def ledger_events(client: Client, agent: Agent) -> int:
    """How long the histories of an agent's ledgers are, those of ``USER``."""
    events = 0
    for account in agent.accounts:
        described = await client.get_workflow_handle(ledger_id(account.of(USER, agent.name).name)).describe()
        events += described.raw_description.workflow_execution_info.history_length
    return events


def _activities(events: Iterable[HistoryEvent], name: str) -> list[float]:
    """Milliseconds of each activity of that name, from its scheduling to its answer."""
    begun: dict[int, HistoryEvent] = {}
    found: list[float] = []
    for event in events:
        if event.activity_task_scheduled_event_attributes.activity_type.name == name:
            begun[event.event_id] = event
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            scheduled = begun.get(event.activity_task_completed_event_attributes.scheduled_event_id)
            if scheduled is not None:
                found.append(_between(scheduled, event))
    assert len(found) == len(begun)
    return found


def _between(begin: HistoryEvent, end: HistoryEvent) -> float:
    return round((end.event_time.ToNanoseconds() - begin.event_time.ToNanoseconds()) / 1e6, 3)
