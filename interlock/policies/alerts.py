"""What people are told of: each alert, in words. ``key`` names an alert for good; alerts with one key are one alert."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from interlock.contracts import Alert, Breaker, KillOrder, LedgerState, Observation
from interlock.policies import ledger, spending
from interlock.policies.windows import IN_WORDS


def cost_outlier(account: str, seen: Observation, why: str) -> Alert:
    fields = {"run": seen.run, "account": account, "usd": str(seen.usd), "outcome": seen.outcome}
    return Alert(kind="cost_outlier", key=f"cost:{seen.run}", text=f"{seen.run}: {why}", fields=fields)


def account_limit(state: LedgerState, share: Decimal, now: datetime) -> Alert:
    """An account has reached ``share`` of its limit."""
    found, limit = ledger.status(state, now), state.limit
    assert limit is not None  # an account without one has no shares
    spent, percent = spending.used(state), f"{_percent(share)} %"
    text = f"account {state.account} has reached {percent} of its ${limit.usd:.2f} for {IN_WORDS[limit.window]}"
    text += f": ${spent:.4f} is spent"
    if share >= 1:
        text += "; its runs step down"
    if found.window_ends is not None:
        text += f"; the window ends {found.window_ends:%Y-%m-%d %H:%M} UTC"
    text += f". interlock budget set {state.account} --usd N --window {limit.window} raises it"
    fields = {
        "account": state.account,
        "percent": _percent(share),
        "spent_usd": str(spent),
        "limit_usd": str(limit.usd),
        "window": limit.window,
        "window_ends": "" if found.window_ends is None else found.window_ends.isoformat(),
    }
    begun = "" if state.window_start is None else f":{state.window_start:%Y-%m-%d}"
    key = f"account:{state.account}:{_percent(share)}:{limit.usd}/{limit.window}{begun}"
    return Alert(kind="account_limit", key=key, text=text, fields=fields)


def _percent(share: Decimal) -> str:
    return f"{float(share) * 100:g}"


def breaker_opened(name: str, found: Breaker) -> Alert:
    until = "" if found.retry_at is None else found.retry_at.isoformat()
    fields = {"dependency": name, "retry_at": until, "error": found.error or ""}
    text = f"circuit breaker of {name} opened: {found.error or 'it fails'}"
    return Alert(kind="breaker_opened", key=f"breaker:{name}:{found.opened}", text=text, fields=fields)


def anomaly_kill(order: KillOrder) -> Alert:
    """Interlock itself has killed a run."""
    fields = {"run": order.subject, "reason": order.reason}
    text = f"{order.subject} was killed by interlock: {order.reason}"
    return Alert(kind="anomaly_kill", key=f"kill:{order.subject}", text=text, fields=fields)


def mirror_stale(fleet: str, worker: str, age: float, times: int) -> Alert:
    """A worker does not hear the switch, for the ``times``-th time."""
    text = (
        f"worker {worker} has not heard of {fleet} for {age:.0f} s: it cannot know what is killed, and makes no calls. "
        "interlock doctor says whether the server answers; if other workers hear it, restart this one"
    )
    fields = {"worker": worker, "fleet": fleet, "age_seconds": f"{age:.0f}"}
    return Alert(kind="mirror_stale", key=f"mirror:{worker}:{times}", text=text, fields=fields)
