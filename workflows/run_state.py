"""The state of one run, which everything in this room works on: one object, carried over continue-as-new.

It holds counters, never the conversation: that is in history, and a worker rebuilds it from there. What is done with it
stands in files of its own: ``carrying``, ``charging``, ``pausing``, ``run_status``.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce

from temporalio import workflow

from interlock.contracts import (
    AgentResult,
    AgentSpec,
    AgentTask,
    Decided,
    Leased,
    Limits,
    Message,
    ModelCall,
    ModelReply,
    Note,
    Outcome,
    PendingApproval,
    Repeats,
    Routed,
    Seen,
    Source,
    State,
    Tier,
    Transcript,
    Usage,
    UserMessage,
)
from interlock.policies import budget, children, limit
from interlock.policies.freshness import still_open
from workflows.call_report import CallReport
from workflows.child import Child
from workflows.seen import Told
from workflows.shown import Shown
from workflows.work_clock import WorkClock

KEPT_ROUTES = 50
"""How many of the latest routing decisions ``status`` shows; they are all in history."""


@dataclass
class Run:
    """One run. ``spec`` is unset until the agent is resolved, which a run does once."""

    task: AgentTask
    state: State = "starting"
    outcome: Outcome | None = None
    reason: str | None = None
    _spec: AgentSpec | None = None
    limits: Limits = field(default_factory=Limits)
    step: int = 0
    calls: int = 0
    messages: int = 0
    last_reply: str = ""
    cut_to: str | None = None
    delta: list[Message] = field(default_factory=list)
    steering: list[Message] = field(default_factory=list)
    steered: bool = False
    answered: str = ""
    tool_calls: int = 0
    refused_calls: int = 0
    clock: WorkClock = field(default_factory=WorkClock)
    by_model: dict[str, Usage] = field(default_factory=dict)
    by_tool: dict[str, int] = field(default_factory=dict)
    routing: list[Routed] = field(default_factory=list)
    paused: Note | None = None
    resumed: Note | None = None
    asks_again: datetime | None = None
    killed: Note | None = None
    cancelled: bool = False
    ignored_signals: int = 0
    transcript: Transcript | None = None
    tier: Tier | None = None
    bytes: int = 0
    last_model: str = ""
    last_tokens: int = 0
    leases: list[Leased] = field(default_factory=list)
    in_flight: dict[str, ModelCall] = field(default_factory=dict)
    seen: tuple[Seen, ...] = ()
    finding_out: set[tuple[str, str]] = field(default_factory=set)
    open_windows: tuple[datetime, ...] = ()
    waiting: dict[str, PendingApproval] = field(default_factory=dict)
    working: int = 0
    answers: dict[str, Decided] = field(default_factory=dict)
    decided: tuple[Decided, ...] = ()
    children: dict[str, Child] = field(default_factory=dict)
    asking: int = 0
    of_children: Usage = field(default_factory=Usage)
    report: CallReport = field(default_factory=CallReport)
    repeats: Repeats = field(default_factory=Repeats)
    circuits: dict[str, str] = field(default_factory=dict)
    begun: datetime | None = None
    told: Told = field(default_factory=Told)
    shown: Shown = field(default_factory=Shown)

    @classmethod
    def fresh(cls, task: AgentTask) -> Run:
        return cls(task=task, delta=[UserMessage(text=task.input)])

    # -- what it is -----------------------------------------------------------------------------------

    @property
    def first_begun(self) -> datetime | None:
        """When it was started; or the run that it works for. A kill that has been released asks."""
        parent = self.task.parent
        return parent.begun if parent is not None and parent.begun is not None else self.begun

    @property
    def resolved(self) -> bool:
        return self._spec is not None

    @property
    def spec(self) -> AgentSpec:
        if self._spec is None:
            raise RuntimeError("the agent is not resolved yet")
        return self._spec

    def resolve(self, spec: AgentSpec, limits: Limits) -> None:
        self._spec, self.limits = spec, limits
        self.bytes = len(spec.instructions.encode()) + spec.schema_bytes
        # What it does for another run is paid from that one's accounts as well, and leased here alone.
        accounts = {each.name: each for each in (self.task.parent.accounts if self.task.parent else ())}
        accounts |= {each.name: each for each in (one.of(self.task.user_id, spec.name) for one in spec.accounts)}
        self.leases = [Leased(account=each) for each in accounts.values()]

    def key(self, *parts: str) -> str:
        """A name for one call: the same for every attempt, worker and reset, different for every other call."""
        said = "\x00".join((workflow.info().first_execution_run_id, *parts))
        return f"{parts[0]}-{hashlib.sha256(said.encode()).hexdigest()[:24]}"

    @property
    def usage(self) -> Usage:
        return reduce(Usage.__add__, self.by_model.values()) if self.by_model else Usage()

    @property
    def own(self) -> Usage:
        """What its own calls used. The runs that it started lease and settle for themselves."""
        usage, theirs = self.usage, self.of_children
        return Usage(**{name: getattr(usage, name) - getattr(theirs, name) for name in Usage.model_fields})

    @property
    def committed(self) -> limit.Spent:
        """What it has spent, and what runs that it started may spend."""
        return children.committed(self.spent, (child.given for child in self.children.values()))

    @property
    def spent(self) -> limit.Spent:
        usage = self.usage
        return limit.Spent(
            usd=usage.usd,
            tokens=usage.tokens,
            seconds=self.clock.seconds,
            steps=self.step,
            tool_calls=self.tool_calls,
        )

    @property
    def calls_in_flight(self) -> bool:
        return bool(self.in_flight or self.report.under_way)

    # -- what happens to it ---------------------------------------------------------------------------

    def said(self, call: ModelCall, reply: ModelReply) -> None:
        """A reply has joined the conversation."""
        self.messages += len(call.delta) + 1
        self.bytes += sum(budget.sent_bytes(self.spec.bounds, each) for each in (*call.delta, reply.message))
        self.open_windows = still_open(self.open_windows, call.delta, call.at)
        billed = [attempt for attempt in reply.attempts if attempt.fate == "billed"]
        # What tools add is in a reply's count only where the request told of them.
        self.last_model = call.model if call.tools or not self.spec.tools else ""
        self.last_tokens = billed[-1].input_tokens + billed[-1].output_tokens if billed else 0
        self.last_reply = reply.reply_id
        self.cut_to = self.cut_short(call, reply)
        self.delta = []

    def cut_short(self, call: ModelCall, reply: ModelReply) -> str | None:
        """That a reply ends where the money for it did, in words."""
        if reply.finish != "length" or call.grant.max_tokens >= self.spec.max_output_tokens:
            return None
        return f"the budget had room for {call.grant.max_tokens} tokens of it"

    def routed(self, model: str, reason: str) -> None:
        self.routing = [*self.routing, Routed(step=self.step, model=model, reason=reason)][-KEPT_ROUTES:]

    def result(
        self,
        outcome: Outcome,
        output: str,
        source: Source,
        reason: str | None = None,
        as_of: datetime | None = None,
    ) -> AgentResult:
        self.outcome, self.reason = outcome, reason
        return AgentResult(
            outcome=outcome,
            output=output,
            source=source,
            reason=reason,
            as_of=as_of,
            steps=self.step,
            tool_calls=self.tool_calls,
            usage=self.usage,
            by_model=self.by_model,
            by_tool=self.by_tool,
            steered=self.steered,
            kill_report=self.report.after_a_kill() if outcome == "killed" else None,
        )

    def go_on(self) -> None:
        """Asked before anything is begun. Raises ``CancelledError`` in a run that is killed or cancelled: a call in
        flight may end by itself, and has used up its cancellation then; what comes after it would not be stopped."""
        if self.killed is not None or self.cancelled:
            raise asyncio.CancelledError

    # -- how it is seen -------------------------------------------------------------------------------

    def enter(self, state: State) -> None:
        self.state = state
        self.told.entered(self, state)
        self.shown.change(self, at_once=True)

    def show(self) -> None:
        """Something that people look at has changed, or a call begins that may take long."""
        self.shown.change(self, at_once=False)
