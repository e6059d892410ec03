from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import Models
from interlock.contracts import Bounds, Tier
from interlock.policies.routing import candidates, route, tier_of, until_retry

MODELS = Models(simple="a:s", medium="a:m", complex="a:c", fallback=("b:1", "a:m", "b:2"))


@pytest.mark.parametrize(
    ("tier", "failed", "unaffordable", "model"),
    [
        ("simple", (), (), "a:s"),
        ("medium", (), (), "a:m"),
        ("complex", (), (), "a:c"),
        # it failed: the fallbacks in order, then cheaper tiers
        ("complex", ("a:c",), (), "b:1"),
        ("complex", ("a:c", "b:1"), (), "a:m"),
        ("medium", ("a:m",), (), "b:1"),
        ("medium", ("a:m", "b:1", "b:2"), (), "a:s"),
        ("medium", ("a:m", "b:1", "b:2", "a:s"), (), None),
        # it costs too much: the next cheaper tier, then the fallbacks
        ("complex", (), ("a:c",), "a:m"),
        ("complex", (), ("a:c", "a:m"), "a:s"),
        ("complex", (), ("a:c", "a:m", "a:s"), "b:1"),
        ("simple", (), ("a:s",), "b:1"),
        # both
        ("complex", ("a:m",), ("a:c",), "b:1"),
        ("simple", ("a:s",), ("b:1", "a:m", "b:2"), None),
    ],
)
def test_which_model_takes_a_turn(
    tier: Tier, failed: tuple[str, ...], unaffordable: tuple[str, ...], model: str | None
) -> None:
    choice = route(MODELS, tier, failed, dict.fromkeys(unaffordable, "the budget of $0.50 is spent"))
    assert (choice.model if choice else None) == model


def test_a_choice_says_why() -> None:
    assert route(MODELS, "complex") == route(MODELS, "complex", (), {})
    plain, dear, down = (
        route(MODELS, "complex"),
        route(MODELS, "complex", (), {"a:c": "no money"}),
        route(MODELS, "complex", ["a:c"]),
    )
    assert plain is not None
    assert dear is not None
    assert down is not None
    assert plain.reason == "complex task"
    assert dear.reason == "complex task, but no money for a:c"
    assert down.reason == "complex task, but a:c failed"


def test_one_model_serves_every_tier() -> None:
    assert Models.one("a:x").all() == ("a:x",)
    assert route(Models.one("a:x"), "complex", ("a:x",)) is None


@given(
    st.sampled_from(["simple", "medium", "complex"]),
    st.sets(st.sampled_from(MODELS.all())),
    st.sets(st.sampled_from(MODELS.all())),
)
def test_no_model_is_asked_that_failed_or_costs_too_much(tier: Tier, failed: set[str], dear: set[str]) -> None:
    choice = route(MODELS, tier, sorted(failed), dict.fromkeys(dear, "dear"))
    left = [model for model in candidates(MODELS, tier, sorted(failed)) if model not in dear]
    assert (choice.model if choice else None) == (left[0] if left else None)
    assert choice is None or choice.model not in failed | dear


@pytest.mark.parametrize(
    ("said", "tier"),
    [
        ("simple", "simple"),
        ("Complex.", "complex"),
        ("**medium**", "medium"),
        ("It is simple, not complex", "medium"),
        ("", "medium"),
        ("hard", "medium"),
    ],
)
def test_what_a_classifying_model_may_say(said: str, tier: Tier) -> None:
    assert tier_of(said) == tier


NOW = datetime(2026, 3, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    ("opens_in", "draw", "left", "waits"),
    [
        ([], 0.5, None, None),  # none is open
        ([10.0], 0.0, None, 10.0),
        ([10.0, 4.0], 0.0, None, 4.0),  # for the first
        ([10.0], 0.5, None, 11.25),  # and chance: up to a quarter of it
        ([1.0], 0.5, None, 1.5),  # or a second
        ([0.0], 0.0, None, 0.2),  # what could be tried at once is being tried
        ([-5.0], 0.5, None, 0.5),
        ([10.0], 0.5, 12.0, 11.25),
        ([10.0], 0.9, 11.0, 10.0),  # there is no time for chance
        ([10.0], 0.9, 10.1, None),  # nor for the call itself
        ([10.0], 0.0, 5.0, None),
    ],
)
def test_a_run_waits_for_the_first_breaker_while_its_time_lasts(
    opens_in: list[float], draw: float, left: float | None, waits: float | None
) -> None:
    circuits = {f"m{n}": NOW + timedelta(seconds=seconds) for n, seconds in enumerate(opens_in)}
    found = until_retry(Bounds(), circuits, NOW, draw, left)
    assert found == (None if waits is None else timedelta(seconds=waits))
