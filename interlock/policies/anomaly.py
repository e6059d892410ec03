"""When a run behaves as no run should, Interlock ends it: a kill with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from statistics import median

from interlock.contracts import LedgerSettings, Limits

NORMAL = Decimal("1.4826")
"""Makes the median absolute deviation comparable to a standard deviation."""


def too_many_calls(limits: Limits, made: int, asked: int) -> str | None:
    """Why a run that has made ``made`` tool calls and asks for ``asked`` more must end; ``None``: it need not."""
    if limits.tool_calls is not None and made + asked > limits.tool_calls:
        return f"more than {limits.tool_calls} tool calls"
    return None


def cost_outlier(settings: LedgerSettings, costs: Sequence[Decimal], usd: Decimal) -> str | None:
    """Why a run that cost ``usd`` stands out from ``costs``, those of recent runs; ``None``: it does not.

    Robust: median and median absolute deviation, which a few dear runs do not move. With a floor, because runs
    that all cost the same have no deviation, and a cent more would be an outlier."""
    if len(costs) < settings.least_runs:
        return None
    middle = median(costs)
    deviation = median(abs(cost - middle) for cost in costs)
    threshold = middle + max(settings.deviations * NORMAL * deviation, middle, settings.floor_usd)
    if usd <= threshold:
        return None
    return f"a run cost ${usd:.4f}; the median of the last {len(costs)} is ${middle:.4f} (alert above ${threshold:.4f})"
