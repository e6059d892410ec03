"""Facts, one after the other, gathered into spans. Which belongs below which is said by ``interlock.spans.tree``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from interlock.contracts import Usage
from interlock.spans.facts import CURRENT, NEXT, Began, Closed, Ended, Fact, Heard, Said, Started, Waits
from interlock.spans.span import NOTHING, Span


@dataclass
class Gathered:
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
