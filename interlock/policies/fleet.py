"""The kill switch: who is killed, by which order, and for how long that is remembered.

    kill    run | user | all  -> in force until released; of a single run: until its calls are long over
    release user | all        -> new runs are let in again; what was killed stays killed

* The widest order that covers a run is the one it is told of: all, then its user, then the run itself.
* An order for a user or for all that is given twice is one order; the first reason stays.
* An order that is released before its sweep is done goes on ending the runs that were open when it came.
* The kill of a single run covers the calls that it had asked for by then. The run itself is told, and asks for no more.
* Kills of single runs are forgotten, oldest first: they only serve to drop calls in flight. Kills of users and of
  everything are never forgotten by themselves. One user more than can be kept is refused, and counted.
* A new dependency takes the place of one that has been well for longest. One more that fails than can be kept is
  counted, and has no breaker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from json.encoder import encode_basestring
from typing import TypeAlias

from interlock.contracts import (
    Breaker,
    BreakerSettings,
    BreakerView,
    FleetState,
    Kill,
    KillOrder,
    Outcomes,
    Scope,
    Stopped,
    Sweep,
)
from interlock.policies import breaker

LATE = timedelta(seconds=2)
"""A run that is started so soon after a kill may have passed a gate that had not closed."""

LONGEST_REASON, LONGEST_BY, LONGEST_ERROR = 500, 100, 300
"""What is kept of words, in bytes: they go to every worker with every kill and breaker."""

AROUND = 300
"""Bytes of a kill or of settings on the wire beside the words in them; of a breaker with its error twice as many."""

A_SLICE = 70


def name(scope: Scope, subject: str) -> str:
    """What a kill goes by: ``user:ada``, ``run:<id>``, ``all``."""
    return scope if scope == "all" else f"{scope}:{subject}"


def kill(state: FleetState, order: KillOrder, now: datetime) -> FleetState:
    """``state`` with the order in force; the same object when it is already. ``fit`` says whether there is room for it:
    thousands may come at once, and what each costs must not grow with what is there."""
    key = name(order.scope, order.subject)
    before = state.kills.get(key)
    if before is not None and order.scope != "run":  # a run of the same id may be another
        return state
    new = Kill(
        scope=order.scope,
        subject="" if order.scope == "all" else order.subject,
        reason=_cut(order.reason, LONGEST_REASON),
        by=_cut(order.by, LONGEST_BY),
        at=now,
    )
    if order.run_knows and before is not None:  # it asked for calls until it heard: one kill
        new = new.model_copy(update={"stopped": before.stopped, "refused": before.refused})
    kills = dict(state.kills)
    kills.pop(key, None)  # the last one is the last
    kills[key] = new
    if key not in state.released:
        return state.model_copy(update={"kills": kills})
    released = {k: each for k, each in state.released.items() if k != key}  # what it covers, the new one covers
    return state.model_copy(update={"kills": kills, "released": released})


def _no_room(state: FleetState, times: int = 1) -> FleetState:
    return state.model_copy(update={"no_room": state.no_room + times})


def release(state: FleetState, order: KillOrder, now: datetime) -> FleetState:
    """``state`` without the order; the same object when it was not in force."""
    key = name(order.scope, order.subject)
    if (found := state.kills.get(key)) is None:
        return state
    kills = {k: v for k, v in state.kills.items() if k != key}
    if found.scope == "run" or found.sweep is not None:
        return state.model_copy(update={"kills": kills})
    released = state.released | {key: found.model_copy(update={"released_at": now})}
    return state.model_copy(update={"kills": kills, "released": released})


def to_sweep(state: FleetState) -> Iterator[tuple[str, Kill]]:
    """The kills whose runs have not all been ended yet, the widest first."""
    found = [
        (key, each)
        for kills in (state.kills, state.released)
        for key, each in kills.items()
        if each.scope != "run" and each.sweep is None
    ]
    return iter(sorted(found, key=lambda item: item[1].scope != "all"))


def swept(state: FleetState, key: str, killed: Kill, sweep: Sweep) -> FleetState:
    """``state`` after the sweep of ``killed``, which may have been released, or given anew, meanwhile."""
    if (found := state.kills.get(key)) is not None and found.at == killed.at:
        return state.model_copy(update={"kills": state.kills | {key: found.model_copy(update={"sweep": sweep})}})
    if (found := state.released.get(key)) is not None and found.at == killed.at:
        return state.model_copy(update={"released": {k: v for k, v in state.released.items() if k != key}})
    return state


def fit(state: FleetState, now: datetime) -> FleetState:
    """``state`` without the kills of single runs that are old, or more than can be kept, and without the last kills of
    users that there is no room for; the same object when that is none."""
    rules, oldest = state.rules, now - timedelta(seconds=state.rules.kept_seconds)
    gone, number, size = set[str](), 0, 0
    for key, each in reversed(state.kills.items()):
        if each.scope == "run":
            number, size = number + 1, size + _size(key, each)
            if each.at <= oldest or number > rules.kept_runs or size > rules.run_bytes:
                gone.add(key)
    number = sum(each.scope == "user" for each in state.released.values())
    size = sum(_size(key, each) for key, each in state.released.items())
    refused = 0
    for key, each in state.kills.items():
        if each.scope == "user":
            number, size = number + 1, size + _size(key, each)
            if number > rules.kept_users or size > rules.user_bytes:
                number, size, refused = number - 1, size - _size(key, each), refused + 1
                gone.add(key)
    if not gone:
        return state
    kept = state.model_copy(update={"kills": {k: each for k, each in state.kills.items() if k not in gone}})
    return _no_room(kept, refused) if refused else kept


def _size(key: str, each: Kill) -> int:
    return AROUND + _bytes(key) + _bytes(each.subject) + _bytes(each.reason) + _bytes(each.by)


@lru_cache(8192)  # of all that is kept, with each order
def _bytes(words: str) -> int:
    """As JSON: a quote takes two bytes, a control character six."""
    said = encode_basestring(words)
    return len(said) if said.isascii() else len(said.encode())


def _cut(words: str, most: int) -> str:
    """``words`` in ``most`` bytes, of which a character has up to four."""
    return words.encode()[:most].decode(errors="ignore")


def count(state: FleetState, done: Stopped) -> FleetState:
    """``state`` with what a worker's gate has done about a kill; one that is no longer in force is passed over."""
    key = name(done.scope, done.subject)
    if (found := state.kills.get(key)) is None:
        return state
    counted = found.model_copy(
        update={"stopped": found.stopped + done.stopped, "refused": found.refused + done.refused}
    )
    return state.model_copy(update={"kills": {**state.kills, key: counted}})


@dataclass(frozen=True)
class Asking:
    """Who asks for a call. By the server's clock: ``since`` when, and when the run had ``begun``, or the one that it
    works for; where that is not known, it is taken to have begun just then."""

    run: str
    user: str
    since: datetime
    begun: datetime | None = None


def covering(kills: Mapping[str, Kill], released: Mapping[str, Kill], asking: Asking) -> Kill | None:
    """The kill that covers a call, if there is one. That of a single run covers what the run had asked for by then: an
    id may be used again."""
    wide = (name("all", ""), name("user", asking.user))
    for key in wide:
        if key in kills:
            return kills[key]
    for key in wide:
        if key in released and (asking.begun or asking.since) <= reach(released[key]):
            return released[key]
    killed = kills.get(name("run", asking.run))
    return killed if killed is not None and asking.since <= killed.at else None


def reach(killed: Kill) -> datetime:
    """When the last run was started that ``killed`` ends, if it asks for nothing while the order is in force."""
    late = killed.at + LATE
    return late if killed.released_at is None else min(late, killed.released_at)


def words(found: Kill) -> str:
    """Why a run that ``found`` covers was killed, in words."""
    what = {"run": "", "user": f"user {found.subject}: ", "all": "everything: "}[found.scope]
    return f"{what}{found.reason or 'killed'}"


def settings_of(state: FleetState, dependency: str) -> BreakerSettings:
    return state.settings.get(dependency, state.defaults)


def observe(state: FleetState, outcomes: Outcomes, now: datetime) -> FleetState:
    """``state`` after a report about one dependency; the same object when it says nothing new."""
    key = outcomes.dependency
    before = state.breakers.get(key)
    if before is None and outcomes.failures == 0:
        return state
    if outcomes.error:
        outcomes = outcomes.model_copy(update={"error": _cut(outcomes.error, LONGEST_ERROR)})
    known = before or Breaker()
    after = breaker.report(settings_of(state, key), known, outcomes, now)
    if after is known:
        return state
    others = {k: each for k, each in state.breakers.items() if k != key}
    if before is None and not _make_room(state, key, others):
        return _no_room(state)
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
    return 2 * AROUND + LONGEST_ERROR + _bytes(key) + A_SLICE * settings_of(state, key).window_slices


def too_many_settings(state: FleetState, dependency: str) -> str | None:
    """Why a dependency cannot have settings of its own, if it cannot."""
    own, rules = {*state.settings, dependency}, state.rules
    if not dependency or dependency in state.settings:
        return None
    if len(own) <= rules.kept_settings and sum(AROUND + _bytes(each) for each in own) <= rules.settings_bytes:
        return None
    return f"{len(own) - 1} dependencies have settings of their own; there can be no more"


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


def views(state: FleetState) -> dict[str, BreakerView]:
    return {key: breaker.view(each) for key, each in state.breakers.items()}
