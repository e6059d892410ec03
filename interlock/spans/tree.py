"""The tree of the gathered spans: calls in their stages, waits in their places, and what the run's end broke off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from interlock.spans.charges import untold
from interlock.spans.facts import NEXT, Fact
from interlock.spans.gathered import Gathered
from interlock.spans.span import Ending, Span

ABANDONED = "had not reported back when the run ended"


def grow(facts: Iterable[Fact], nested: Mapping[str, Span] | None = None) -> Span:
    """The tree that ``facts``, oldest first, make up. ``nested``: by the id with which they began, the trees of the
    runs that the run has started. Raises ``ValueError`` when the facts do not say that a run began."""
    known = Gathered()
    for fact in facts:
        known.add(fact)
    if known.start is None:
        raise ValueError("the history does not say how the run began")
    end = None
    if known.closed is not None:
        end = max([known.closed.at, *(span.end for span in known.spans.values() if span.end is not None)])
        _abandon(known, end)
    for key, run in (nested or {}).items():
        if key in known.spans:
            known.spans[key] = run
    top, of_stage = _apart(known)
    for name, spans in of_stage.items():
        top.append(_stage(name, spans))
    top = _waits_in_place(top)
    charged = untold(known, top, known.start, end)
    return Span(
        name=f"invoke_agent {known.agent}",
        kind="run",
        start=known.start,
        end=end,
        state=known.closed.state if known.closed else "running",
        error=known.closed.error if known.closed else "",
        children=(*sorted(top, key=_began), *charged),
    )


def _abandon(known: Gathered, end: datetime) -> None:
    for key, span in known.spans.items():
        if span.end is None:
            waited = span.kind == "wait"
            error = "" if waited else ABANDONED
            known.spans[key] = replace(span, end=end, state="done" if waited else "cancelled", error=error)


def _apart(known: Gathered) -> tuple[list[Span], dict[str, list[Span]]]:
    top: list[Span] = []
    of_stage: dict[str, list[Span]] = {}
    timers = [span for key, span in known.spans.items() if span.kind == "wait" and known.stages[key] is not None]
    for key, span in known.spans.items():
        stage = known.stages[key]
        if key in known.timed and any(_overlap(span, timer) for timer in timers):
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


def _began(span: Span) -> datetime:
    return span.start
