"""The state of one run, which everything in this room works on: one object, carried over continue-as-new.

It holds counters, never the conversation: that is in history, and a worker rebuilds it from there.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from temporalio import workflow

from interlock.contracts import (
    AgentResult,
    AgentSpec,
    AgentTask,
    Carried,
    Decided,
    Leased,
    Limits,
    Message,
    ModelCall,
    ModelReply,
    Note,
    Outcome,
    PendingApproval,
    Progress,
    Repeats,
    Routed,
    RunStatus,
    Seen,
    Source,
    State,
    Tier,
    Transcript,
    Usage,
    UserMessage,
)
from interlock.policies import budget, children
from interlock.policies.children import Ended
from interlock.policies.freshness import still_open
from workflows.call_report import CallReport
from workflows.seen import Told
from workflows.shown import Shown

NOTED = 2000
"""Characters of a note's reason, at most."""

KEPT_ROUTES = 50
"""How many of the latest routing decisions ``status`` shows; they are all in history."""


BUDGET = "interlock budget"
"""Who pauses a run that is out of money, where its agent asks for that."""


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
class Child:
    """A run that this one has started, until it has ended. ``given``: what it may use, which nobody else can meanwhile.
    ``told``: what it said of itself before it was cancelled. ``waits``: for people."""

    id: str
    agent: str
    given: Limits
    started: bool = False
    over: bool = False
    waits: bool = False
    told: AgentResult | None = None


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
            seen=progress.seen,
            open_windows=progress.open_windows,
            decided=progress.decided,
            of_children=progress.of_children,
            report=CallReport(
                completed=list(progress.completed_calls),
                stopped=list(progress.stopped_calls),
                unknown=list(progress.unknown_calls),
            ),
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
            seen=self.seen,
            open_windows=self.open_windows,
            decided=self.decided,
            of_children=self.of_children,
            completed_calls=tuple(self.report.completed),
            stopped_calls=tuple(self.report.stopped),
            unknown_calls=tuple(self.report.unknown),
            repeats=self.repeats,
            circuits=self.circuits,
            begun=self.begun,
        )
        return Carried(task=self.task, progress=progress, transcript=transcript)

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
        return sum(self.by_model.values(), Usage())

    @property
    def own(self) -> Usage:
        """What its own calls used. The runs that it started lease and settle for themselves."""
        usage, theirs = self.usage, self.of_children
        return Usage(**{name: getattr(usage, name) - getattr(theirs, name) for name in Usage.model_fields})

    @property
    def committed(self) -> budget.Spent:
        """What it has spent, and what runs that it started may spend."""
        return children.committed(self.spent, (child.given for child in self.children.values()))

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
            self.told.charged(self, call.model, usage)

    def child_ended(self, call_id: str, ended: Ended) -> None:
        """A run that was started for a call has ended: what it used is charged, and the rest may be spent again."""
        child = self.children.pop(call_id)
        for model, usage in children.charge(child.agent, child.given, ended).items():
            self.by_model[model] = self.by_model.get(model, Usage()) + usage
            self.of_children += usage
        if ended.result is not None:
            self.tool_calls += ended.result.tool_calls
            for tool, times in ended.result.by_tool.items():
                self.by_tool[tool] = self.by_tool.get(tool, 0) + times
        if ended.how == "refused":
            self.report.over(call_id)
        elif ended.how != "result":
            self.report.ended_child(call_id, ended.result.kill_report if ended.result else None)

    def settle_abandoned(self) -> None:
        """Charge the calls that the run ends without waiting for: all that they were granted."""
        for call_id in list(self.children):
            self.child_ended(call_id, Ended("lost", "it was not waited for"))
        for call in list(self.in_flight.values()):
            self.settled(call, budget.charge(call.price, call.grant, (), unreported=call.grant.attempts))
            self.told.attempted(call.model, (), call.grant.attempts)

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
            kill_report=self.report.after_a_kill() if outcome == "killed" else None,
        )

    @property
    def ending(self) -> bool:
        """It is killed or cancelled."""
        return self.killed is not None or self.cancelled

    def go_on(self) -> None:
        """Asked before anything is begun. Raises ``CancelledError`` in a run that is killed or cancelled: a call in
        flight may end by itself, and has used up its cancellation then; what comes after it would not be stopped."""
        if self.ending:
            raise asyncio.CancelledError

    def pause(self, note: Note) -> None:
        """Somebody wants it to wait. What they say replaces what Interlock said of its money."""
        if self.paused is None or self.short_of_money:
            self.paused = note

    def wait_for_money(self, reason: str, until: datetime | None) -> None:
        """Wait for somebody to give it more; or ``until`` then, when there may be more. A person's pause stays one."""
        if self.paused is None:
            self.paused, self.asks_again = Note(reason=reason[:NOTED], by=BUDGET), until

    @property
    def short_of_money(self) -> bool:
        return self.paused is not None and self.paused.by == BUDGET

    def resume(self, note: Note) -> None:
        self.paused, self.resumed = None, note

    async def unpaused(self) -> None:
        """Wait while the run is paused, before each call; the time does not count."""
        self.go_on()
        if self.paused is None:
            return
        self.clock.stop()
        await self._resumed()
        self.go_on()
        self.clock.start()
        self.enter("waiting_approval" if self.waiting else "running")

    async def _resumed(self) -> None:
        while (note := self.paused) is not None:
            self.enter("paused")
            left = None
            if self.short_of_money and self.asks_again is not None:
                left = max(self.asks_again - workflow.now(), timedelta(seconds=1))
            try:
                await self._other_than(note, left)
            except TimeoutError:
                self.resume(Note(reason="there may be money again", by=BUDGET))

    async def _other_than(self, note: Note, left: timedelta | None) -> None:
        said = "then ask for money again"
        await workflow.wait_condition(lambda: self.paused is not note, timeout=left, timeout_summary=said)

    @property
    def waits_for_people(self) -> bool:
        """Of what is under way nothing works: it waits for a person, here or in runs that this one has started."""
        theirs = sum(child.waits for child in self.children.values())
        return bool(self.waiting or theirs) and self.working <= theirs

    def settle_clock(self) -> None:
        """What is waited for has changed. Of a run that is paused, the pause says when its time counts again."""
        if self.state == "paused":
            return
        if self.waits_for_people:
            self.clock.stop()
        else:
            self.clock.start()

    # -- how it is seen -------------------------------------------------------------------------------

    def enter(self, state: State) -> None:
        self.state = state
        self.told.entered(self, state)
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
            pending_approvals=tuple(self.waiting.values()),
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
