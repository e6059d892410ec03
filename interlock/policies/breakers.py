"""The breakers of the fleet, one for each dependency; ``breaker`` says how one behaves.

A new dependency takes the place of one that has been well for longest. One more that fails than can be kept is counted,
and has no breaker.
"""

from __future__ import annotations

from datetime import datetime

from interlock.contracts import Breaker, BreakerSettings, BreakerView, FleetState, Outcomes
from interlock.policies import breaker
from interlock.policies.room import AROUND, LONGEST_ERROR, bytes_of, cut, no_room

A_SLICE = 70


def settings_of(state: FleetState, dependency: str) -> BreakerSettings:
    return state.settings.get(dependency, state.defaults)


def observe(state: FleetState, outcomes: Outcomes, now: datetime) -> FleetState:
    """``state`` after a report about one dependency; the same object when it says nothing new."""
    key = outcomes.dependency
    before = state.breakers.get(key)
    if before is None and outcomes.failures == 0:
        return state
    if outcomes.error:
        outcomes = outcomes.model_copy(update={"error": cut(outcomes.error, LONGEST_ERROR)})
    known = before or Breaker()
    after = breaker.report(settings_of(state, key), known, outcomes, now)
    if after is known:
        return state
    others = {k: each for k, each in state.breakers.items() if k != key}
    if before is None and not _make_room(state, key, others):
        return no_room(state)
    return state.model_copy(update={"breakers": others | {key: after}})  # the last that changed is the last


def _make_room(state: FleetState, key: str, breakers: dict[str, Breaker]) -> bool:
    """Forget as many ``breakers`` that are well as the new one needs room, those that changed longest ago first."""
    rules, size = state.rules, sum(_breaker_size(state, each) for each in (*breakers, key))
    well = iter([k for k, each in breakers.items() if each.state == "closed" and not breaker.view(each).watched])
    while len(breakers) >= rules.kept_breakers or size > rules.breaker_bytes:
        if (forgotten := next(well, None)) is None:
            return False
        del breakers[forgotten]
        size -= _breaker_size(state, forgotten)
    return True


def _breaker_size(state: FleetState, key: str) -> int:
    return 2 * AROUND + LONGEST_ERROR + bytes_of(key) + A_SLICE * settings_of(state, key).window_slices


def views(state: FleetState) -> dict[str, BreakerView]:
    return {key: breaker.view(each) for key, each in state.breakers.items()}
