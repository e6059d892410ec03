"""The state of one run, which everything in this room works on: one object, carried over continue-as-new.

It holds counters, never the conversation: that is in history, and a worker rebuilds it from there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from temporalio import workflow

from interlock.contracts import (
    AgentResult,
    AgentSpec,
    AgentTask,
    Carried,
    Leased,
    Limits,
    Message,
    ModelCall,
    ModelReply,
    Note,
    Outcome,
    Progress,
    Repeats,
    Routed,
    RunStatus,
    Source,
    State,
    Tier,
    Transcript,
    Usage,
    UserMessage,
    size,
)
from interlock.policies import budget
from workflows.call_report import CallReport
from workflows.seen import Seen
from workflows.shown import Shown

KEPT_ROUTES = 50
"""How many of the latest routing decisions ``status`` shows; they are all in history."""


@dataclass
class WorkClock:
    """Seconds a run has worked. It stands still while the run waits for people."""

    before: float = 0.0
    since: datetime | None = None

    def start(self) -> None:
        self.since = self.since or workflow.now()

    def stop(self) -> None:
        self.before, self.since = self.seconds, None

    @property
    def seconds(self) -> float:
        running = 0.0 if self.since is None else (workflow.now() - self.since).total_seconds()
        return self.before + running


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
    delta: list[Message] = field(default_factory=list)
    steering: list[Message] = field(default_factory=list)
    tool_calls: int = 0
    refused_calls: int = 0
    clock: WorkClock = field(default_factory=WorkClock)
    by_model: dict[str, Usage] = field(default_factory=dict)
    by_tool: dict[str, int] = field(default_factory=dict)
    routing: list[Routed] = field(default_factory=list)
    paused: Note | None = None
    killed: Note | None = None
    ignored_signals: int = 0
    transcript: Transcript | None = None
    tier: Tier | None = None
    bytes: int = 0
    last_model: str = ""
    last_tokens: int = 0
    leases: list[Leased] = field(default_factory=list)
    in_flight: dict[str, ModelCall] = field(default_factory=dict)
    report: CallReport = field(default_factory=CallReport)
    repeats: Repeats = field(default_factory=Repeats)
    circuits: dict[str, str] = field(default_factory=dict)
    begun: datetime | None = None
    seen: Seen = field(default_factory=Seen)
    shown: Shown = field(default_factory=Shown)

    @classmethod
    def fresh(cls, task: AgentTask) -> Run:
        return cls(task=task, delta=[UserMessage(text=task.input)])

    @classmethod
    def carried(cls, given: Carried) -> Run:
        """The run that ``given`` was carried from, going on."""
        progress = given.progress
        return cls(
            task=given.task,
            state="paused" if progress.paused else "running",
            _spec=progress.spec,
            limits=progress.limits,
            step=progress.step,
            calls=progress.calls,
            messages=progress.messages,
            last_reply=progress.last_reply,
            delta=list(progress.delta),
            tool_calls=progress.tool_calls,
            refused_calls=progress.refused_calls,
            clock=WorkClock(before=progress.worked),
            by_model=dict(progress.by_model),
            by_tool=dict(progress.by_tool),
            routing=list(progress.routing),
            paused=progress.paused,
            ignored_signals=progress.ignored_signals,
            tier=progress.tier,
            bytes=progress.bytes,
            last_model=progress.last_model,
            last_tokens=progress.last_tokens,
            leases=list(progress.leases),
            report=CallReport(completed=list(progress.completed_calls)),
            repeats=progress.repeats,
            circuits=dict(progress.circuits),
            begun=progress.begun,
        )

    def carry(self, transcript: Transcript) -> Carried:
        progress = Progress(
            spec=self.spec,
            limits=self.limits,
            step=self.step,
            calls=self.calls,
            messages=self.messages,
            last_reply=self.last_reply,
            delta=(*self.delta, *self.steering),
            tool_calls=self.tool_calls,
            refused_calls=self.refused_calls,
            worked=self.clock.seconds,
            by_model=self.by_model,
            by_tool=self.by_tool,
            routing=tuple(self.routing),
            paused=self.paused,
            ignored_signals=self.ignored_signals,
            tier=self.tier,
            bytes=self.bytes,
            last_model=self.last_model,
            last_tokens=self.last_tokens,
            leases=tuple(self.leases),
            completed_calls=tuple(self.report.completed),
            repeats=self.repeats,
            circuits=self.circuits,
            begun=self.begun,
        )
        return Carried(task=self.task, progress=progress, transcript=transcript)

    # -- what it is -----------------------------------------------------------------------------------

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
        self.leases = [Leased(account=each.of(self.task.user_id, spec.name)) for each in spec.accounts]

    def key(self, *parts: str) -> str:
        """A name for one call: the same for every attempt, worker and reset, different for every other call."""
        said = "\x00".join((workflow.info().first_execution_run_id, *parts))
        return f"{parts[0]}-{hashlib.sha256(said.encode()).hexdigest()[:24]}"

    @property
    def usage(self) -> Usage:
        return sum(self.by_model.values(), Usage())

    @property
    def spent(self) -> budget.Spent:
        usage = self.usage
        return budget.Spent(
            usd=usage.usd,
            tokens=usage.tokens,
            seconds=self.clock.seconds,
            steps=self.step,
            tool_calls=self.tool_calls,
        )

    # -- what happens to it ---------------------------------------------------------------------------

    def sent(self, call: ModelCall) -> None:
        self.in_flight[call.key] = call

    @property
    def calls_in_flight(self) -> bool:
        return bool(self.in_flight or self.report.under_way)

    def settled(self, call: ModelCall, usage: Usage) -> None:
        """A call's fate is known, and charged."""
        if self.in_flight.pop(call.key, None) is not None:
            self.by_model[call.model] = self.by_model.get(call.model, Usage()) + usage
            self.seen.charged(self, call.model, usage)

    def settle_abandoned(self) -> None:
        """Charge the calls that the run ends without waiting for: all that they were granted."""
        for call in list(self.in_flight.values()):
            self.settled(call, budget.charge(call.price, call.grant, (), unreported=call.grant.attempts))
            self.seen.attempted(call.model, (), call.grant.attempts)

    def said(self, call: ModelCall, reply: ModelReply) -> None:
        """A reply has joined the conversation."""
        self.messages += len(call.delta) + 1
        self.bytes += sum(size(message) for message in call.delta) + size(reply.message)
        billed = [attempt for attempt in reply.attempts if attempt.fate == "billed"]
        # What tools add is in a reply's count only where the request told of them.
        self.last_model = call.model if call.tools or not self.spec.tools else ""
        self.last_tokens = billed[-1].input_tokens + billed[-1].output_tokens if billed else 0
        self.last_reply = reply.reply_id
        self.delta = []

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
            kill_report=self.report.after_a_kill() if outcome == "killed" else None,
        )

    async def unpaused(self) -> None:
        """Wait while the run is paused, before each call; the time does not count."""
        if self.paused is None:
            return
        self.clock.stop()
        self.enter("paused")
        await workflow.wait_condition(lambda: self.paused is None)
        self.clock.start()
        self.enter("running")

    # -- how it is seen -------------------------------------------------------------------------------

    def enter(self, state: State) -> None:
        self.state = state
        self.seen.entered(self, state)
        self.shown.change(self, at_once=True)

    def show(self) -> None:
        """Something that people look at has changed, or a call begins that may take long."""
        self.shown.change(self, at_once=False)

    def status(self) -> RunStatus:
        spent, remaining = self.spent, budget.left(self.limits, self.spent)
        return RunStatus(
            run=workflow.info().workflow_id,
            agent=self.task.agent,
            user_id=self.task.user_id,
            state=self.state,
            outcome=self.outcome,
            reason=self.reason or (self.paused.reason if self.paused else None),
            step=self.step,
            tool_calls=self.tool_calls,
            model=self.routing[-1].model if self.routing else None,
            complexity=self.task.complexity,
            limits=self.limits,
            spent={name: plain(getattr(spent, name)) for name in remaining},
            remaining={name: None if value is None else plain(value) for name, value in remaining.items()},
            usage=self.usage,
            routing=tuple(self.routing),
            breakers=tuple(f"{name}: {said}" for name, said in self.circuits.items()),
            ignored_signals=self.ignored_signals,
            kill_report=self.report.after_a_kill() if self.outcome == "killed" else None,
        )


def plain(value: Decimal | int | float) -> str:
    """A figure as people write it: no exponent, no noise behind the millisecond."""
    return (
        f"{value:.3f}".rstrip("0").rstrip(".")
        if isinstance(value, float)
        else f"{value:f}"
        if isinstance(value, Decimal)
        else str(value)
    )
