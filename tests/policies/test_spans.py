"""The laws by which a history makes up a trace."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.contracts import Usage
from interlock.spans.charges import EARLIER, UNTOLD
from interlock.spans.facts import CURRENT, NEXT, Began, Closed, Ended, Fact, Heard, Said, Started, Waits
from interlock.spans.span import Ending, Span
from interlock.spans.tree import ABANDONED, grow


def at(seconds: float) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def usd(amount: str) -> Usage:
    return Usage(calls=1, attempts=1, input_tokens=10, output_tokens=5, usd=Decimal(amount))


def outline(span: Span) -> list[object]:
    """Names, with what is inside each as a list after it."""
    return [line for child in span.children for line in (child.name, *([outline(child)] if child.children else []))]


def everything(span: Span) -> Iterator[Span]:
    yield span
    for child in span.children:
        yield from everything(child)


RUN: list[Fact] = [
    Started(at(0), "a"),
    Began("resolve", at(0), "resolve the agent", "other"),
    Ended("resolve", at(1)),
    Began("l1", at(1), "lease from fleet", "account", NEXT),
    Ended("l1", at(2)),
    Began("m1", at(2), "chat x", "chat", "agent.step.1", 3),
    Ended("m1", at(4), attempts=2, lost=("ModelRateLimited",), usage=usd("0.02")),
    Began("t1", at(4), "execute_tool look()", "tool", CURRENT),
    Began("t2", at(4), "execute_tool look()", "tool", CURRENT),
    Ended("t2", at(5), "failed", "ToolFailed: no"),
    Ended("t1", at(6)),
    Began("m2", at(6), "chat x", "chat", "agent.step.2"),
    Ended("m2", at(8), usage=usd("0.03")),
    Began("s", at(8), "settle with fleet", "account"),
    Ended("s", at(9)),
    Closed(at(9), usage=usd("0.05")),
]


def test_calls_are_in_their_steps_and_what_prepares_a_call_is_beside_it() -> None:
    root = grow(RUN)
    assert (root.name, root.kind, root.start, root.end) == ("invoke_agent a", "run", at(0), at(9))
    assert outline(root) == [
        "resolve the agent",
        "agent.step.1",
        ["lease from fleet", "chat x", "execute_tool look()", "execute_tool look()"],
        "agent.step.2",
        ["chat x"],
        "settle with fleet",
    ]
    step = root.children[1]
    assert (step.start, step.end, step.state, step.usage.usd) == (at(1), at(6), "done", Decimal("0.02"))
    chat = step.children[1]
    assert (chat.attempts, chat.granted, chat.lost) == (2, 3, ("ModelRateLimited",))
    assert [child.error for child in step.children if child.state == "failed"] == ["ToolFailed: no"]


def test_a_run_under_way_shows_what_is_under_way_and_what_the_server_tells_of_it() -> None:
    root = grow([*RUN[:6], Heard("m1", 2, ("ModelOverloaded",)), Heard("nothing", 9)])
    assert (root.end, root.state) == (None, "running")
    step = root.children[-1]
    assert (step.end, step.state) == (None, "running")
    assert (step.children[-1].attempts, step.children[-1].lost) == (2, ("ModelOverloaded",))


def test_what_had_not_reported_back_when_the_run_ended_was_cancelled_by_it() -> None:
    root = grow([*RUN[:9], Closed(at(5), "failed", "RunKilled: killed: enough")])
    assert (root.state, root.error) == ("failed", "RunKilled: killed: enough")
    step = root.children[-1]
    assert (step.state, step.end) == ("cancelled", at(5))
    assert [(tool.state, tool.error) for tool in step.children[2:]] == [("cancelled", ABANDONED)] * 2


def test_a_step_is_as_good_as_its_last_model_call() -> None:
    calls: list[Fact] = [
        Started(at(0), "a"),
        Began("m1", at(1), "chat x", "chat", "agent.step.1"),
        Ended("m1", at(2), "failed", "ModelRejected: no"),
    ]
    assert grow(calls).children[0].state == "failed"
    again: list[Fact] = [Began("m2", at(2), "chat y", "chat", "agent.step.1"), Ended("m2", at(3))]
    assert grow([*calls, *again]).children[0].state == "done"


@pytest.mark.parametrize(
    ("closed", "lines"),
    [
        (usd("0.05"), []),
        (usd("0.09"), [(UNTOLD, Decimal("0.04"))]),
        (None, []),
    ],
)
def test_what_was_charged_and_told_by_no_call_has_a_line_of_its_own(
    closed: Usage | None, lines: list[tuple[str, Decimal]]
) -> None:
    root = grow([*RUN[:-1], Closed(at(9), usage=closed)])
    assert [(span.name, span.usage.usd) for span in root.children if span.kind == "charge"] == lines
    assert root.usage.usd == (closed.usd if closed else Decimal("0.05"))


def test_what_was_spent_before_the_history_that_is_left_begins_is_counted() -> None:
    root = grow([Started(at(0), "a", before=usd("1.00")), *RUN[1:-1], Closed(at(9), usage=usd("1.05"))])
    assert [(span.name, span.usage.usd) for span in root.children if span.kind == "charge"] == [
        (EARLIER, Decimal("1.00"))
    ]
    assert root.usage.usd == Decimal("1.05")


@pytest.mark.parametrize("charged", ["0.05", "0.45"])
def test_a_run_that_it_started_is_part_of_its_tree_whoever_was_charged(charged: str) -> None:
    child = Span("invoke_agent b", "run", at(4), at(5), own=usd("0.40"))
    facts = [*RUN[:7], Began("c", at(4), "run b-1", "run", CURRENT), Ended("c", at(5)), *RUN[11:-1]]
    root = grow([*facts, Closed(at(9), usage=usd(charged))], {"c": child})
    assert child in root.children[1].children
    assert not [span for span in root.children if span.kind == "charge"]
    assert root.usage.usd == Decimal("0.45")


def test_a_wait_is_in_the_step_that_goes_on_meanwhile_and_a_timer_that_tells_more_takes_its_place() -> None:
    between: list[Fact] = [Waits(at(9), "paused"), Said(at(10), "resumed by ada"), Waits(at(11))]
    within: list[Fact] = [Waits(at(4), "waiting for approval", timed=True), Waits(at(5))]
    assert "paused" in outline(grow([*RUN[:-1], *between]))
    assert outline(grow([*RUN[:10], *within, *RUN[10:]]))[2] == [
        "lease from fleet",
        "chat x",
        "execute_tool look()",
        "execute_tool look()",
        "waiting for approval",
    ]
    timer: list[Fact] = [Began("timer", at(4), "waiting for approval of look", "wait", CURRENT), Ended("timer", at(5))]
    waits = [span.name for span in everything(grow([*RUN[:10], *within, *timer, *RUN[10:]])) if span.kind == "wait"]
    assert waits == ["waiting for approval of look"]


def test_waiting_again_for_the_same_is_one_wait() -> None:
    root = grow([RUN[0], Waits(at(1), "paused"), Waits(at(2), "paused"), Waits(at(3)), Waits(at(4))])
    assert [(span.start, span.end) for span in root.children] == [(at(1), at(3))]


def test_facts_without_a_beginning_are_refused() -> None:
    with pytest.raises(ValueError, match="how the run began"):
        grow(RUN[1:])


ENDINGS: list[Ending] = ["done", "failed", "cancelled"]


@st.composite
def histories(draw: st.DrawFn) -> list[Fact]:
    """A run of any number of steps, each with calls side by side, waits between, some cut off in the middle."""
    now, number, spent = 0.0, 0, Usage()
    facts: list[Fact] = [Started(at(0), "a")]
    for step in range(1, draw(st.integers(1, 5)) + 1):
        if draw(st.booleans()):
            facts += [Began(f"l{step}", at(now), "lease", "account", NEXT), Ended(f"l{step}", at(now := now + 1))]
        if draw(st.booleans()):
            facts += [Waits(at(now), "paused"), Waits(at(now := now + 1))]
        for _ in range(draw(st.integers(1, 3))):
            number += 1
            used = usd(f"0.{draw(st.integers(0, 99)):02}")
            facts.append(Began(f"m{number}", at(now), "chat x", "chat", f"agent.step.{step}"))
            facts.append(Ended(f"m{number}", at(now := now + 1), draw(st.sampled_from(ENDINGS)), usage=used))
            spent += used
        tools = [f"t{step}-{each}" for each in range(draw(st.integers(0, 3)))]
        facts += [Began(tool, at(now), "execute_tool x", "tool", CURRENT) for tool in tools]
        for tool in draw(st.permutations(tools)):
            facts.append(Ended(tool, at(now := now + 1), draw(st.sampled_from(ENDINGS))))
    facts = facts[: draw(st.integers(1, len(facts)))] if draw(st.booleans()) else facts
    if draw(st.booleans()):
        untold = Usage(usd=Decimal(draw(st.integers(0, 9))))
        facts.append(Closed(at(now + 1), usage=spent + untold))
    return facts


@given(histories())
def test_children_are_inside_their_parents_time_and_the_dollars_are_the_results(facts: list[Fact]) -> None:
    root = grow(facts)
    for span in everything(root):
        for child in span.children:
            assert span.start <= child.start
            assert span.end is None or (child.end is not None and child.start <= child.end <= span.end)
    calls = [fact for fact in facts if isinstance(fact, Began)]
    assert len([span for span in everything(root) if span.kind in ("chat", "tool", "account")]) == len(calls)
    match facts[-1]:
        case Closed(usage=Usage() as usage):
            assert root.usage.usd == usage.usd
        case _:
            assert root.end is None
