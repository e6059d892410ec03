"""The fleet's state: what time makes of it, and what workers are told of it.

Beside it: ``switch`` (who is killed), ``breakers`` (what is down), ``room`` (how much of both is kept).
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from interlock.contracts import FleetState, Kill
from interlock.policies import breaker
from interlock.policies.breakers import settings_of, views
from interlock.policies.room import fit


def settle(state: FleetState, now: datetime) -> FleetState:
    """``state`` without what time has made meaningless: old failures, old kills of single runs."""
    settled = {k: breaker.settle(settings_of(state, k), each, now) for k, each in state.breakers.items()}
    if any(settled[k] is not each for k, each in state.breakers.items()):
        state = state.model_copy(update={"breakers": settled})
    return fit(state, now)


def fades(state: FleetState) -> bool:
    """Whether there is anything that time alone changes."""
    runs = any(each.scope == "run" for each in state.kills.values())
    return runs or any(each.watched for each in views(state).values())


Told: TypeAlias = dict[str, dict[str, object]]


def published(state: FleetState, before: FleetState | None = None, told: Told | None = None) -> Told:
    """What workers mirror, by memo key: only what they need, so that a memo stays small. ``told``: what was published
    of ``before``; what has not changed since is taken from there."""
    told, before = told or {}, before or FleetState()
    new: Told = {"settings": _settings(state)}
    families = (("kill", state.kills, before.kills), ("released", state.released, before.released))
    for family, kills, kills_before in families:
        for name, each in kills.items():
            key = f"{family}/{name}"
            new[key] = told[key] if each is kills_before.get(name) and key in told else _kill(each)
    for name, found in state.breakers.items():
        key = f"breaker/{name}"
        same = found is before.breakers.get(name) and key in told
        new[key] = told[key] if same else breaker.view(found).model_dump(mode="json")
    return new


def _kill(each: Kill) -> dict[str, object]:
    shown = {"scope", "subject", "reason", "by", "at", "released_at"}
    return each.model_dump(mode="json", include=shown, exclude_none=True)


def _settings(state: FleetState) -> dict[str, object]:
    return {
        "defaults": state.defaults.model_dump(mode="json"),
        "settings": {key: each.model_dump(mode="json") for key, each in state.settings.items()},
    }
