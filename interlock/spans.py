"""A run's history, reduced to a tree of spans: what ran when, inside what, for how much. Pure: what to read a history
with is ``interlock.run_trace``.

The tree is that of the OpenTelemetry trace, with one line for all attempts of a call:

    invoke_agent analyst
        agent.plan, agent.step.1, ... agent.final_answer
            chat claude-sonnet-4-5, execute_tool search(pattern="ERROR"), invoke_agent (an agent used as a tool)

and beside it what no trace of calls shows: waits, money leased and settled, what people said to the run.

The laws by which facts make up the tree:

1. A call belongs to the stage (plan, step, final answer) that it names, and what precedes a call (a lease) to the
   call's. A stage begins with the first of its spans and ends with the last.
2. A wait belongs to the stage that goes on meanwhile; else to the run.
3. What had not reported back when the run ended was cancelled by its end.
4. The dollars of all spans are those of the run's result. What the run charged and no call tells of (an attempt whose
   fate nobody knows is charged at its bound) is a span of its own, so that the sum is right and says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, TypeAlias

from interlock.contracts import Usage

Kind: TypeAlias = Literal["run", "stage", "chat", "tool", "account", "wait", "said", "charge", "other"]
Ending: TypeAlias = Literal["running", "done", "failed", "cancelled"]

NOTHING = Usage()
UNTOLD = "charged at its bound: attempts whose fate nobody told of"
EARLIER = "charged before this history begins"
ABANDONED = "had not reported back when the run ended"


@dataclass(frozen=True)
class Span:
    """One line of a trace. ``end`` is ``None`` while it is under way.

    granted  how many attempts it may make; ``None``: nobody says
    lost     why earlier attempts failed, as far as it is known, oldest first
    own      what it used itself; ``usage`` is that and its children's"""

    name: str
    kind: Kind
    start: datetime
    end: datetime | None = None
    state: Ending = "done"
    error: str = ""
    attempts: int = 1
    granted: int | None = None
    lost: tuple[str, ...] = ()
    own: Usage = NOTHING
    children: tuple[Span, ...] = ()

    @property
    def usage(self) -> Usage:
        return sum((child.usage for child in self.children), self.own)


@dataclass(frozen=True)
class Started:
    """The run began. ``before``: what it had spent before the history that is read begins."""

    at: datetime
    agent: str
    before: Usage = NOTHING


@dataclass(frozen=True)
class Began:
    """Something under the run began. ``stage``: which it belongs to; ``None``: the run itself; ``next``: that of the
    call that it prepares; ``current``: that of the last call."""

    id: str
    at: datetime
    name: str
    kind: Kind
    stage: str | None = None
    granted: int | None = None


@dataclass(frozen=True)
class Ended:
    """It ended."""

    id: str
    at: datetime
    state: Ending = "done"
    error: str = ""
    attempts: int = 1
    lost: tuple[str, ...] = ()
    usage: Usage = NOTHING


@dataclass(frozen=True)
class Heard:
    """It is still under way, and this is what the server tells of its attempts."""

    id: str
    attempts: int
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class Waits:
    """The run began to wait; ``why`` is empty when it goes on. ``timed``: a timer tells more of it, if there is one."""

    at: datetime
    why: str = ""
    timed: bool = False


@dataclass(frozen=True)
class Said:
    """Somebody said something to the run, or its code failed."""

    at: datetime
    text: str
    broken: bool = False


@dataclass(frozen=True)
class Closed:
    """The run ended. ``usage``: what it says it was charged; ``None``: it did not say."""

    at: datetime
    state: Ending = "done"
    error: str = ""
    usage: Usage | None = None


Fact: TypeAlias = Started | Began | Ended | Heard | Waits | Said | Closed

NEXT, CURRENT = "next", "current"


@dataclass
class _Tree:
    """What is known so far. ``spans`` in the order in which they began, each with its stage."""

    agent: str = ""
    start: datetime | None = None
    before: Usage = NOTHING
    spans: dict[str, Span] = field(default_factory=dict)
    stages: dict[str, str | None] = field(default_factory=dict)
    current: str | None = None
    waiting: str | None = None
    timed: set[str] = field(default_factory=set)
    closed: Closed | None = None

    def add(self, fact: Fact) -> None:
        match fact:
            case Started(at=at, agent=agent, before=before):
                if self.start is None:
                    self.start, self.agent, self.before = at, agent, before
            case Began():
                self._begin(fact)
            case Ended(id=id, at=at) if id in self.spans:
                self.spans[id] = replace(
                    self.spans[id],
                    end=at,
                    state=fact.state,
                    error=fact.error,
                    attempts=max(1, fact.attempts),
                    lost=fact.lost,
                    own=fact.usage,
                )
            case Heard(id=id, attempts=attempts, lost=lost) if id in self.spans and self.spans[id].end is None:
                self.spans[id] = replace(self.spans[id], attempts=max(1, attempts), lost=lost)
            case Waits():
                self._wait(fact)
            case Said(at=at, text=text, broken=broken):
                self._put(Span(text, "said", at, at, "failed" if broken else "done"), None)
            case Closed():
                self.closed = fact

    def _begin(self, fact: Began) -> None:
        stage = self.current if fact.stage == CURRENT else fact.stage
        if fact.stage not in (None, NEXT, CURRENT):
            self.current = stage
            for key, of in self.stages.items():
                self.stages[key] = stage if of == NEXT else of
        self.spans[fact.id] = Span(fact.name, fact.kind, fact.at, state="running", granted=fact.granted)
        self.stages[fact.id] = stage

    def _wait(self, fact: Waits) -> None:
        if self.waiting is not None:
            if self.spans[self.waiting].name == fact.why:
                return
            self.spans[self.waiting] = replace(self.spans[self.waiting], end=fact.at, state="done")
            self.waiting = None
        if fact.why:
            self.waiting = self._put(Span(fact.why, "wait", fact.at, state="running"), None)
            if fact.timed:
                self.timed.add(self.waiting)

    def _put(self, span: Span, stage: str | None) -> str:
        key = f"{span.kind}-{len(self.spans)}"
        self.spans[key], self.stages[key] = span, stage
        return key


def grow(facts: Iterable[Fact], nested: Mapping[str, Span] | None = None) -> Span:
    """The tree that ``facts``, oldest first, make up. ``nested``: by the id with which they began, the trees of the
    runs that the run has started. Raises ``ValueError`` when the facts do not say that a run began."""
    tree = _Tree()
    for fact in facts:
        tree.add(fact)
    if tree.start is None:
        raise ValueError("the history does not say how the run began")
    end = None
    if tree.closed is not None:
        end = max([tree.closed.at, *(span.end for span in tree.spans.values() if span.end is not None)])
        _abandon(tree, end)
    for key, run in (nested or {}).items():
        if key in tree.spans:
            tree.spans[key] = run
    top, of_stage = _apart(tree)
    for name, spans in of_stage.items():
        top.append(_stage(name, spans))
    top = _waits_in_place(top)
    charged = _untold(tree, top, tree.start, end)
    return Span(
        name=f"invoke_agent {tree.agent}",
        kind="run",
        start=tree.start,
        end=end,
        state=tree.closed.state if tree.closed else "running",
        error=tree.closed.error if tree.closed else "",
        children=(*sorted(top, key=_began), *charged),
    )


def _abandon(tree: _Tree, end: datetime) -> None:
    for key, span in tree.spans.items():
        if span.end is None:
            waited = span.kind == "wait"
            error = "" if waited else ABANDONED
            tree.spans[key] = replace(span, end=end, state="done" if waited else "cancelled", error=error)


def _apart(tree: _Tree) -> tuple[list[Span], dict[str, list[Span]]]:
    top: list[Span] = []
    of_stage: dict[str, list[Span]] = {}
    timers = [span for key, span in tree.spans.items() if span.kind == "wait" and tree.stages[key] is not None]
    for key, span in tree.spans.items():
        stage = tree.stages[key]
        if key in tree.timed and any(_overlap(span, timer) for timer in timers):
            continue
        if stage is None or stage == NEXT:
            top.append(span)
        else:
            of_stage.setdefault(stage, []).append(span)
    return top, of_stage


def _overlap(one: Span, other: Span) -> bool:
    return (other.end is None or one.start <= other.end) and (one.end is None or other.start <= one.end)


def _stage(name: str, spans: list[Span]) -> Span:
    """A stage of the run: as long as what is in it, and as good as its last model call."""
    ends = [span.end for span in spans if span.end is not None]
    under_way = len(ends) < len(spans)
    states = [span.state for span in spans]
    chats = [span.state for span in spans if span.kind == "chat"]
    state: Ending = "cancelled" if "cancelled" in states else chats[-1] if chats else states[-1]
    return Span(
        name=name,
        kind="stage",
        start=min(span.start for span in spans),
        end=None if under_way else max(ends),
        state="running" if under_way else state,
        children=tuple(sorted(spans, key=_began)),
    )


def _waits_in_place(top: list[Span]) -> list[Span]:
    """Each wait inside the stage that goes on meanwhile (law 2)."""
    placed = [span for span in top if span.kind != "wait"]
    for wait in (span for span in top if span.kind == "wait"):
        holder = next((number for number, span in enumerate(placed) if _holds(span, wait)), None)
        if holder is None:
            placed.append(wait)
        else:
            stage = placed[holder]
            placed[holder] = replace(stage, children=tuple(sorted((*stage.children, wait), key=_began)))
    return placed


def _holds(stage: Span, wait: Span) -> bool:
    if stage.kind != "stage" or wait.start < stage.start:
        return False
    return stage.end is None or (wait.end is not None and wait.end <= stage.end)


def _untold(tree: _Tree, top: list[Span], start: datetime, end: datetime | None) -> list[Span]:
    """What was charged and no call tells of (law 4)."""
    lines: list[Span] = []
    if tree.before.usd:
        lines.append(Span(EARLIER, "charge", start, start, own=tree.before))
    if tree.closed is not None and tree.closed.usage is not None and end is not None:
        told = sum((span.usage for span in top), tree.before)
        nested = sum((span.usage for span in _runs(top)), Usage())
        if tree.closed.usage.usd < told.usd:  # runs that it started were charged to themselves, and not to it
            told = _less(told, nested)
        rest = _less(tree.closed.usage, told)
        if rest.usd:
            lines.append(Span(UNTOLD, "charge", end, end, own=rest))
    return lines


def _runs(spans: Iterable[Span]) -> list[Span]:
    """The outermost runs in ``spans``."""
    found: list[Span] = []
    for span in spans:
        found += [span] if span.kind == "run" else _runs(span.children)
    return found


def _less(all: Usage, part: Usage) -> Usage:
    return Usage(**{name: getattr(all, name) - getattr(part, name) for name in Usage.model_fields})


def _began(span: Span) -> datetime:
    return span.start
