from __future__ import annotations

from decimal import Decimal

import pytest

from interlock.contracts import LedgerSettings, Limits
from interlock.policies.anomaly import cost_outlier, too_many_calls

SETTINGS = LedgerSettings()
SAME = [Decimal("0.10")] * 10
VARIED = [Decimal(cents) / 100 for cents in range(1, 20)]  # median 0.10, deviation 0.05
CHEAP = [Decimal("0.001")] * 10
ONE_DEAR = [*SAME, Decimal(50)]


@pytest.mark.parametrize(
    ("costs", "usd", "stands_out"),
    [
        ([], "1000", False),
        (SAME[:9], "1000", False),  # too few to say anything
        (SAME, "0.20", False),  # twice the median
        (SAME, "0.2001", True),
        (SAME, "0.01", False),  # a cheap run is no trouble
        (VARIED, "0.54", False),  # six deviations: 0.10 + 6 * 1.4826 * 0.05 = 0.5448
        (VARIED, "0.55", True),
        (CHEAP, "0.011", False),  # the floor: a cent above the median
        (CHEAP, "0.0111", True),
        (ONE_DEAR, "0.2001", True),  # one dear run moves neither the median nor the deviation
    ],
)
def test_which_run_stands_out(costs: list[Decimal], usd: str, stands_out: bool) -> None:
    assert (cost_outlier(SETTINGS, costs, Decimal(usd)) is not None) == stands_out


def test_it_says_why() -> None:
    assert cost_outlier(SETTINGS, SAME, Decimal("1.5")) == (
        "a run cost $1.5000; the median of the last 10 is $0.1000 (alert above $0.2000)"
    )


@pytest.mark.parametrize(
    ("limit", "made", "asked", "reason"),
    [
        (None, 1000, 1000, None),
        (10, 8, 2, None),
        (10, 8, 3, "more than 10 tool calls"),
        (10, 10, 0, None),
        (0, 0, 1, "more than 0 tool calls"),
    ],
)
def test_too_many_calls(limit: int | None, made: int, asked: int, reason: str | None) -> None:
    assert too_many_calls(Limits(tool_calls=limit), made, asked) == reason
