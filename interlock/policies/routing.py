"""Which model takes a turn: the tier the task asks for first, then the fallbacks, in order.

A choice carries its reason in words; the run records both.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from interlock.contracts import Models, Tier


@dataclass(frozen=True)
class Choice:
    model: str
    reason: str


def route(models: Models, tier: Tier, failed: Collection[str] = ()) -> Choice | None:
    """The model for a turn of ``tier``, or ``None`` when every one has failed in this turn."""
    wanted: str = getattr(models, tier)
    for model in dict.fromkeys((wanted, *models.fallback)):
        if model in failed:
            continue
        if model == wanted:
            return Choice(model, f"{tier} task")
        return Choice(model, f"fallback: {', '.join(failed)} failed")
    return None
