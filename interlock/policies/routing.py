"""Which model takes a turn: the best of its tier that works and that the budget affords.

    simple  -> the simple model
    medium  -> the medium one, else the simple one
    complex -> the complex one, else the medium one, else the simple one

* A model that has failed in this turn is not asked again in it; the fallbacks come before cheaper tiers, because
  they were named for that.
* A model that no grant affords is passed over for the next cheaper one, before a fallback is: it is money that is
  short, not the provider.

A choice carries its reason in words; the run records both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from interlock.contracts import Models, Tier

CHEAPER: Mapping[Tier, tuple[Tier, ...]] = {
    "simple": ("simple",),
    "medium": ("medium", "simple"),
    "complex": ("complex", "medium", "simple"),
}


@dataclass(frozen=True)
class Choice:
    model: str
    reason: str


def candidates(models: Models, tier: Tier, failed: Iterable[str] = ()) -> list[str]:
    """The models that may take a turn, in order of preference."""
    tiers = [getattr(models, each) for each in CHEAPER[tier]]
    order = [tiers[0], *models.fallback, *tiers[1:]] if list(failed) else [*tiers, *models.fallback]
    return [model for model in dict.fromkeys(order) if model not in set(failed)]


def route(
    models: Models, tier: Tier, failed: Iterable[str] = (), unaffordable: Mapping[str, str] | None = None
) -> Choice | None:
    """The model for a turn, or ``None``: there is none left.

    failed        models that failed in this turn
    unaffordable  models that no grant affords -> which limit is in the way"""
    passed_over = unaffordable or {}
    failed = list(failed)
    for model in candidates(models, tier, failed):
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
