"""Pairs of runs that were measured one beside the other, and how they compare: ratios, with their spread."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One run: milliseconds of each step, and of this process's CPU a step."""

    steps: list[float]
    cpu: float


@dataclass(frozen=True)
class Pair:
    interlock: Sample
    bare: Sample

    @property
    def ratio(self) -> float:
        return statistics.median(self.interlock.steps) / statistics.median(self.bare.steps)


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians, and the interval that holds it in 95 of 100 resamplings of the pairs."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"

    def verdict(self, goal: float) -> str:
        met = "met" if self.high <= goal else "not met" if self.low > goal else "undecided: the interval spans it"
        return f"a step takes {self} times a bare one; the goal of at most {goal:g} is {met}."


def ratio_of_medians(pairs: Sequence[Pair], resamplings: int = 1000) -> Ratio:
    return resampled([(pair.interlock.steps, pair.bare.steps) for pair in pairs], resamplings)


def resampled(pairs: Sequence[tuple[Sequence[float], Sequence[float]]], resamplings: int = 1000) -> Ratio:
    """The median of all first parts to that of all second ones."""
    chance = random.Random(0)

    def of(some: Sequence[tuple[Sequence[float], Sequence[float]]]) -> float:
        ours = statistics.median(value for pair in some for value in pair[0])
        return ours / statistics.median(value for pair in some for value in pair[1])

    again = sorted(of(chance.choices(pairs, k=len(pairs))) for _ in range(resamplings))
    return Ratio(of(pairs), again[resamplings // 40], again[-resamplings // 40 - 1])


def percentiles(values: list[float]) -> list[float]:
    """The 5th, 25th, 50th, 75th and 95th."""
    cuts = statistics.quantiles(values, n=20)
    return [cuts[index] for index in (0, 4, 9, 14, 18)]
