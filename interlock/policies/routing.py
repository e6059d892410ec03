"""Which model takes a turn: the best of its tier that works and that the budget affords.

    simple  -> the simple model
    medium  -> the medium one, else the simple one
    complex -> the complex one, else the medium one, else the simple one

* A model that has failed in this turn is not asked again in it; the fallbacks come before cheaper tiers, because
  they were named for that.
* When a breaker is open, models of other providers come first: what is down is more often a provider than a model.
* A model that no grant affords is passed over for the next cheaper one, before a fallback is: it is money that is
  short, not the provider.

A choice carries its reason in words; the run records both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from interlock.contracts import Bounds, Models, Tier

CHEAPER: Mapping[Tier, tuple[Tier, ...]] = {
    "simple": ("simple",),
    "medium": ("medium", "simple"),
    "complex": ("complex", "medium", "simple"),
}


@dataclass(frozen=True)
class Choice:
    model: str
    reason: str


def candidates(models: Models, tier: Tier, failed: Iterable[str] = (), down: Iterable[str] = ()) -> list[str]:
    """The models that may take a turn, in order of preference. ``down``: those of ``failed`` whose breaker is open."""
    tiers = [getattr(models, each) for each in CHEAPER[tier]]
    gone, out = set(failed), {_provider(model) for model in down}
    order = [tiers[0], *models.fallback, *tiers[1:]] if gone else [*tiers, *models.fallback]
    left = [model for model in dict.fromkeys(order) if model not in gone]
    return sorted(left, key=lambda model: _provider(model) in out)  # stable: the order is kept but for that


def _provider(model: str) -> str:
    return model.partition(":")[0]


def until_retry(
    bounds: Bounds, circuits: Mapping[str, datetime], now: datetime, draw: float, left: float | None
) -> timedelta | None:
    """How long to wait for the first of the open ``circuits``, each with when it may be tried; ``None``: too long.

    draw  a number in [0, 1), chance's part: many runs that wait for one breaker do not return together
    left  seconds that may be waited; ``None``: without end"""
    if not circuits:
        return None
    first = max(0.0, (min(circuits.values()) - now).total_seconds())
    wait = first + draw * max(bounds.breaker_spread, first / 4)
    if left is None or wait < left:
        return timedelta(seconds=max(wait, bounds.breaker_least))
    if first + bounds.breaker_least < left:
        return timedelta(seconds=max(first, bounds.breaker_least))
    return None


def route(
    models: Models,
    tier: Tier,
    failed: Iterable[str] = (),
    unaffordable: Mapping[str, str] | None = None,
    down: Iterable[str] = (),
) -> Choice | None:
    """The model for a turn, or ``None``: there is none left.

    failed        models that failed in this turn
    unaffordable  models that no grant affords -> which limit is in the way
    down          those of ``failed`` whose circuit breaker is open"""
    passed_over = unaffordable or {}
    failed = list(failed)
    for model in candidates(models, tier, failed, down):
        if model in passed_over:
            continue
        wanted = getattr(models, tier)
        if model == wanted:
            return Choice(model, f"{tier} task")
        if wanted in passed_over:
            return Choice(model, f"{tier} task, but {passed_over[wanted]} for {wanted}")
        return Choice(model, f"{tier} task, but {', '.join(failed)} failed")
    return None


def tier_of(said: str) -> Tier:
    """The tier that a classifying model named; ``medium`` when it named none, or several."""
    words = said.lower()
    named: list[Tier] = [tier for tier in ("simple", "medium", "complex") if tier in words]
    return named[0] if len(named) == 1 else "medium"
