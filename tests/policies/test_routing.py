from __future__ import annotations

import pytest

from interlock import Models
from interlock.contracts import Tier
from interlock.policies.routing import route

MODELS = Models(simple="a:s", medium="a:m", complex="a:c", fallback=("b:1", "a:m", "b:2"))


@pytest.mark.parametrize(
    ("tier", "failed", "model"),
    [
        ("simple", (), "a:s"),
        ("medium", (), "a:m"),
        ("complex", (), "a:c"),
        ("complex", ("a:c",), "b:1"),
        ("complex", ("a:c", "b:1"), "a:m"),
        ("medium", ("a:m",), "b:1"),
        ("medium", ("a:m", "b:1"), "b:2"),
        ("medium", ("a:m", "b:1", "b:2"), None),
    ],
)
def test_the_tier_first_then_the_fallbacks_in_order(tier: Tier, failed: tuple[str, ...], model: str | None) -> None:
    choice = route(MODELS, tier, failed)
    assert (choice.model if choice else None) == model


def test_one_model_serves_every_tier() -> None:
    assert Models.one("a:x").all() == ("a:x",)
    assert route(Models.one("a:x"), "complex", ("a:x",)) is None
