"""When a run behaves as no run should, Interlock ends it: a kill with a reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from decimal import Decimal
from statistics import median
from typing import Literal, TypeAlias

from interlock.contracts import LedgerSettings, Limits, Repeats

Verdict: TypeAlias = Literal["go on", "warn", "kill"]

NORMAL = Decimal("1.4826")
"""Makes the median absolute deviation comparable to a standard deviation."""


REPEATED_PROMPT = (
    "You have called {tool} {times} times in a row with the same arguments, and the result was the same each time. "
    "Do something else, or answer with what you know; once more, and this run is ended."
)


def too_many_calls(limits: Limits, made: int, asked: int) -> str | None:
    """Why a run that has made ``made`` tool calls and asks for ``asked`` more must end; ``None``: it need not."""
    if limits.tool_calls is not None and made + asked > limits.tool_calls:
        return f"more than {limits.tool_calls} tool calls"
    return None


def repeated(seen: Repeats, limit: int, call: str, *, hold: bool = False) -> tuple[Repeats, Verdict]:
    """What to do about a call, ``call`` naming its tool, arguments and result, after those ``seen`` before it.

    One before the limit the model is warned, once; at the limit, and warned, the run is killed. ``hold``: the warning
    has only just been given, and the model could not heed it yet."""
    same = call == seen.call
    now = Repeats(call=call, times=seen.times + 1 if same else 1, warned=same and seen.warned)
    if now.warned and now.times >= limit and not hold:
        return now, "kill"
    if not now.warned and now.times >= limit - 1 and now.times > 1:
        return now.model_copy(update={"warned": True}), "warn"
    return now, "go on"


def fingerprint(tool: str, arguments: str, result: str) -> str:
    """Names a call and what it came to; arguments that differ in blanks or order are the same."""
    try:
        said = json.dumps(json.loads(arguments or "{}"), sort_keys=True)
    except (ValueError, RecursionError):
        said = arguments
    return hashlib.sha256("\x00".join((tool, said, result)).encode(errors="replace")).hexdigest()[:32]


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
