"""How long results are true, and whether a call may rely on them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.contracts import Bounds, Keeping, Seen, ToolMessage, ToolSpec, UserMessage, size
from interlock.policies import budget, freshness
from interlock.policies.freshness import Fetch, Go, Tell

NOW = datetime(2026, 11, 23, 5, 2, 41, 999_999, tzinfo=UTC)
SYMBOL = {"type": "object", "properties": {"symbol": {"type": "string"}}, "required": ["symbol"]}


def spec(name: str, parameters: dict[str, Any] | None = None, **options: Any) -> ToolSpec:
    return ToolSpec(name=name, description="", parameters=parameters or {"type": "object"}, **options)


QUOTE = spec("quote", SYMBOL, valid_for=60)
MOOD = spec("mood", valid_for=60)
MARKET = spec(
    "market", {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}, valid_for=60
)
ASKED = spec("credit", SYMBOL, valid_for=60, approval="always")
JUDGED = spec("credit", SYMBOL, valid_for=60, approval="predicate")
RELIES = spec("credit", SYMBOL, valid_for=60, requires_fresh=("quote",))
BUY = spec("buy", {**SYMBOL, "properties": {**SYMBOL["properties"], "amount": {"default": 1}}})  # type: ignore[dict-item]


def seen(tool: ToolSpec, left: float, says: object = "10", **arguments: Any) -> Seen:
    """A result whose window ends in ``left`` seconds."""
    until = NOW + timedelta(seconds=left)
    asked, content = json.dumps(arguments), json.dumps(says)
    return freshness.seen(Keeping(), tool, asked, content, at=until - timedelta(seconds=60), until=until)


A, TUESDAY = '{"symbol":"A"}', '{"day":"tue"}'
UNCALLED = Tell("buy was not made: it relies on market, which was not called. Call it first.")
NOT_CREDIT = Tell("buy was not made: it relies on credit, which was not called. Call it first.")
PAST_CREDIT = Tell(f"buy was not made: it relies on credit({A}), which is past its window. Call that again first.")


@pytest.mark.parametrize(
    ("required", "basis", "results", "step"),
    [
        ([], [], [], Go()),
        ([QUOTE], [seen(QUOTE, 5, symbol="A")], None, Go(NOW + timedelta(seconds=5))),
        ([QUOTE], [seen(QUOTE, 0, symbol="A")], None, Go(NOW)),
        ([QUOTE], [seen(QUOTE, -1e-6, symbol="A")], None, Fetch((("quote", A),))),
        # Of another symbol, whichever was asked for last
        ([QUOTE], [seen(QUOTE, -5, symbol="A"), seen(QUOTE, 5, symbol="B")], None, Fetch((("quote", A),))),
        ([QUOTE], [seen(QUOTE, 5, symbol="A"), seen(QUOTE, -5, symbol="B")], None, Go(NOW + timedelta(seconds=5))),
        # No argument in common: the latest
        ([MARKET], [seen(MARKET, -5, day="mon"), seen(MARKET, 5, day="tue")], None, Go(NOW + timedelta(seconds=5))),
        ([MARKET], [seen(MARKET, 5, day="mon"), seen(MARKET, -5, day="tue")], None, Fetch((("market", TUESDAY),))),
        # Several: the earliest end counts, and all that are stale are fetched
        ([QUOTE, MOOD], [seen(QUOTE, 5, symbol="A"), seen(MOOD, 3)], None, Go(NOW + timedelta(seconds=3))),
        ([QUOTE, MOOD], [seen(QUOTE, -5, symbol="A"), seen(MOOD, -3)], None, Fetch((("quote", A), ("mood", "{}")))),
        # Fetched again since: the same, or not; written differently is the same
        ([MOOD], [seen(MOOD, -5, {"p": 1, "q": 2})], [seen(MOOD, 9, {"q": 2, "p": 1})], Go(NOW + timedelta(seconds=9))),
        # No longer kept
        ([QUOTE], [seen(QUOTE, 5, symbol="A")], [], Fetch((("quote", A),))),
        # Never called
        ([QUOTE], [], [], Fetch((("quote", A),))),
        ([MOOD], [], [], Fetch((("mood", "{}"),))),
        ([MARKET], [], [], UNCALLED),
        ([QUOTE, MARKET], [seen(QUOTE, -5, symbol="A")], None, UNCALLED),
        # With checks of its own: nobody calls it past them
        ([ASKED], [], [], NOT_CREDIT),
        ([JUDGED], [], [], NOT_CREDIT),
        ([RELIES], [], [], NOT_CREDIT),
        ([ASKED], [seen(ASKED, -5, symbol="A")], None, PAST_CREDIT),
        ([ASKED], [seen(ASKED, 5, symbol="A")], [], PAST_CREDIT),
        ([ASKED], [seen(ASKED, 5, symbol="A")], None, Go(NOW + timedelta(seconds=5))),
        ([QUOTE, RELIES], [seen(RELIES, -5, symbol="A")], None, PAST_CREDIT),
    ],
)  # fmt: skip
def test_before_a_call(
    required: list[ToolSpec], basis: list[Seen], results: list[Seen] | None, step: freshness.Step
) -> None:
    known = basis if results is None else results
    assert freshness.before(BUY, '{"symbol": "A"}', required, basis=basis, results=known, now=NOW) == step


def test_what_changed_is_told_with_both_values_whichever_way_it_came() -> None:
    old, new = seen(QUOTE, 5, "10", symbol="A"), seen(QUOTE, 50, "11", symbol="A")
    step = freshness.before(BUY, A, [QUOTE], basis=[old], results=[new], now=NOW)
    assert isinstance(step, Tell)
    assert step.changed
    assert 'quote({"symbol":"A"}) said, at 2026-11-23 05:01:46 UTC: "10"\n' in step.text
    assert 'It now says, at 2026-11-23 05:02:31 UTC, valid until 2026-11-23 05:03:31 UTC: "11"' in step.text
    assert step.text.endswith("Nothing was done. Decide again.")
    after = freshness.before(BUY, A, [QUOTE], basis=[old], results=[new], now=NOW, tried=True)
    assert isinstance(after, Tell)
    assert after.text.startswith("buy was not tried again: what it relies on has changed.\n")
    assert "Nothing was done" not in after.text
    unseen = freshness.before(BUY, A, [QUOTE], basis=[], results=[new], now=NOW)
    assert isinstance(unseen, Tell)
    assert not unseen.changed
    assert '"11"' in unseen.text


SECONDS = st.floats(-100, 100)


@given(st.lists(st.tuples(SECONDS, st.sampled_from("AB"), st.integers(1, 3)), max_size=6), SECONDS, st.integers(1, 3))
def test_a_call_is_made_only_on_results_inside_their_window_that_say_what_the_model_has_read(
    read: list[tuple[float, str, int]], again: float, says: int
) -> None:
    basis: tuple[Seen, ...] = ()
    for left, symbol, said in read:
        basis = freshness.kept(Keeping(), basis, seen(QUOTE, left, said, symbol=symbol))
    fetched = seen(QUOTE, again, says, symbol="A")
    for results in (basis, freshness.kept(Keeping(), basis, fetched)):
        step = freshness.before(BUY, A, [QUOTE], basis=basis, results=results, now=NOW)
        known = {each.arguments: each for each in results}
        was = {each.arguments: each for each in basis}
        sound = A in was and known[A].valid_until >= NOW and known[A].digest == was[A].digest
        assert isinstance(step, Go) == sound
        assert not isinstance(step, Fetch) or A not in known or known[A].valid_until < NOW


@pytest.mark.parametrize(
    ("asked", "left", "found"),
    [
        ('{"symbol": "A"}', 5, True),
        ('{ "symbol":"A" }', 0, True),
        ('{"symbol": "A"}', -1e-6, False),
        ('{"symbol": "B"}', 5, False),
    ],
)
def test_a_result_is_used_again_for_the_same_arguments_inside_its_window(
    asked: str, left: float, *, found: bool
) -> None:
    cached = QUOTE.model_copy(update={"cache": True})
    results = [seen(cached, left, symbol="A")]
    assert (freshness.reusable(cached, asked, results, NOW) is not None) == found
    assert freshness.reusable(QUOTE, asked, results, NOW) is None


def test_defaults_make_no_other_arguments() -> None:
    assert freshness.canonical(BUY, A) == freshness.canonical(BUY, '{"amount": 1, "symbol": "A"}')
    assert freshness.canonical(BUY, "") == '{"amount":1}'


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3000)), max_size=30))
def test_what_is_kept_is_bounded_and_the_latest_is_always_there(results: list[tuple[int, int]]) -> None:
    keeping = Keeping(results=5, result_bytes=2000, total_bytes=4000, excerpt=50)
    tool, kept = MOOD.model_copy(update={"cache": True}), tuple[Seen, ...]()
    for number, length in results:
        content = "é" * (length // 2)
        new = freshness.seen(keeping, tool, json.dumps({"n": number}), content, at=NOW, until=NOW)
        kept = freshness.kept(keeping, kept, new)
        assert kept[-1] == new
        assert len(kept) <= 5
        assert len({each.arguments for each in kept}) == len(kept)
        assert sum(len(each.said.encode()) for each in kept) <= 4000
        assert new.whole == (len(content.encode()) <= 2000)
        assert new.whole or len(new.said) < 100


WHEN = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001


@given(st.text(), WHEN, st.floats(0.001, 1e6), st.floats(-1e6, 1e6), st.booleans())
def test_no_more_is_shown_than_was_counted(
    content: str, at: datetime, valid_for: float, later: float, cached: bool
) -> None:
    """The bound of a call's input holds whatever is shown of a result's window."""
    until = freshness.window(at, valid_for)
    message = ToolMessage(call_id="c", tool="t", content=content, observed_at=at, valid_until=until, cached=cached)
    now = at + timedelta(seconds=later)
    shown = freshness.shown(message, now)
    assert shown.startswith(content)
    assert (freshness.STALE in shown[len(content) :]) == (now > until)
    plain = size(message.model_copy(update={"content": ""}))
    shown_bytes = plain + len(json.dumps(shown, ensure_ascii=False).encode(errors="replace"))
    assert shown_bytes <= budget.sent_bytes(Bounds(), message)
    fresh = freshness.shown(message, at)
    assert shown in (fresh, f"{fresh}\n{freshness.STALE}")


def test_what_has_no_window_is_shown_as_it_is_and_counted_as_before() -> None:
    message = ToolMessage(call_id="c", tool="t", content="x")
    assert freshness.shown(message, NOW) == "x"
    assert budget.sent_bytes(Bounds(), message) == size(message)
    assert budget.sent_bytes(Bounds(), UserMessage(text="x")) == size(UserMessage(text="x"))
    assert "valid_until" not in message.model_dump_json()


def test_windows_that_a_request_showed_as_past_are_not_counted_again() -> None:
    def result(left: float) -> ToolMessage:
        return ToolMessage(
            call_id="c", tool="t", content="", observed_at=NOW, valid_until=NOW + timedelta(seconds=left)
        )

    told = [result(1), result(-1), ToolMessage(call_id="c", tool="t", content="")]
    assert freshness.still_open((), told, NOW) == (NOW + timedelta(seconds=1),)
    assert freshness.still_open((NOW - timedelta(seconds=1), NOW), [], NOW) == (NOW,)
    assert len(freshness.still_open((), told, None)) == 2
