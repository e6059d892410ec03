"""The kill switch: who is killed, by which order, and for how long that is remembered.

    kill    run | user | all  -> in force until released; of a single run: until its calls are long over
    release user | all        -> new runs are let in again; what was killed stays killed

* The widest order that covers a run is the one it is told of: all, then its user, then the run itself.
* An order for a user or for all that is given twice is one order; the first reason stays.
* The kill of a single run covers the calls that it had asked for by then. The run itself is told, and asks for no more.
* Kills of single runs are forgotten, oldest first: they only serve to drop calls in flight. Kills of users and of
  everything are never forgotten by themselves. One user more than can be kept is refused, and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

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
)
from interlock.policies import breaker


def name(scope: Scope, subject: str) -> str:
    """What a kill goes by: ``user:ada``, ``run:<id>``, ``all``."""
    return scope if scope == "all" else f"{scope}:{subject}"


def kill(state: FleetState, order: KillOrder, now: datetime) -> FleetState:
    """``state`` with the order in force; the same object when it is already, or there is no room for it."""
    key = name(order.scope, order.subject)
    again = key in state.kills and order.scope != "run"  # a run of the same id may be another
    if again or not _room(state, order.scope):
        return state
    subject = "" if order.scope == "all" else order.subject
    new = Kill(scope=order.scope, subject=subject, reason=order.reason, by=order.by, at=now)
    if order.run_knows and (before := state.kills.get(key)) is not None:  # it asked for calls until it heard: one kill
        new = new.model_copy(update={"stopped": before.stopped, "refused": before.refused})
    return forget(state.model_copy(update={"kills": {**state.kills, key: new}}), now)


def _room(state: FleetState, scope: Scope) -> bool:
    return scope != "user" or sum(each.scope == "user" for each in state.kills.values()) < state.rules.kept_users


def release(state: FleetState, order: KillOrder) -> FleetState:
    """``state`` without the order; the same object when it was not in force."""
    key = name(order.scope, order.subject)
    if key not in state.kills:
        return state
    return state.model_copy(update={"kills": {k: v for k, v in state.kills.items() if k != key}})


def forget(state: FleetState, now: datetime) -> FleetState:
    """``state`` without the kills of single runs that are old, or more than can be kept."""
    oldest = now - timedelta(seconds=state.rules.kept_seconds)
    runs = sorted((k for k, each in state.kills.items() if each.scope == "run"), key=lambda k: state.kills[k].at)
    gone = {k for k in runs if state.kills[k].at <= oldest} | set(runs[: max(0, len(runs) - state.rules.kept_runs)])
    if not gone:
        return state
    return state.model_copy(update={"kills": {k: v for k, v in state.kills.items() if k not in gone}})


def count(state: FleetState, done: Stopped) -> FleetState:
    """``state`` with what a worker's gate has done about a kill; one that is no longer in force is passed over."""
    key = name(done.scope, done.subject)
    if (found := state.kills.get(key)) is None:
        return state
    counted = found.model_copy(
        update={"stopped": found.stopped + done.stopped, "refused": found.refused + done.refused}
    )
    return state.model_copy(update={"kills": {**state.kills, key: counted}})


def covering(kills: Mapping[str, Kill], run: str, user: str, asked: datetime) -> Kill | None:
    """The kill in force that covers a call of a run of ``user``, if there is one. ``asked``: when the run asked for it,
    by the server's clock. The kill of a single run covers what was asked for until then: an id may be used again."""
    for key in (name("all", ""), name("user", user)):
        if key in kills:
            return kills[key]
    killed = kills.get(name("run", run))
    return killed if killed is not None and asked <= killed.at else None


def words(found: Kill) -> str:
    """Why a run that ``found`` covers was killed, in words."""
    what = {"run": "", "user": f"user {found.subject}: ", "all": "everything: "}[found.scope]
    return f"{what}{found.reason or 'killed'}"


def settings_of(state: FleetState, dependency: str) -> BreakerSettings:
    return state.settings.get(dependency, state.defaults)


def observe(state: FleetState, outcomes: Outcomes, now: datetime) -> FleetState:
    """``state`` after a report about one dependency; the same object when it says nothing new."""
    before = state.breakers.get(outcomes.dependency)
    if before is None and (outcomes.failures == 0 or len(state.breakers) >= state.rules.kept_breakers):
        return state
    known = before or Breaker()
    after = breaker.report(settings_of(state, outcomes.dependency), known, outcomes, now)
    if after is known and before is not None:
        return state
    return state.model_copy(update={"breakers": {**state.breakers, outcomes.dependency: after}})


def settle(state: FleetState, now: datetime) -> FleetState:
    """``state`` without what time has made meaningless: old failures, old kills of single runs."""
    settled = {k: breaker.settle(settings_of(state, k), each, now) for k, each in state.breakers.items()}
    if any(settled[k] is not each for k, each in state.breakers.items()):
        state = state.model_copy(update={"breakers": settled})
    return forget(state, now)


def published(state: FleetState) -> dict[str, dict[str, object]]:
    """What workers mirror, by memo key: only what they need, so that a memo stays small."""
    told: dict[str, dict[str, object]] = {"settings": _settings(state)}
    for key, each in state.kills.items():
        told[f"kill/{key}"] = {
            "scope": each.scope,
            "subject": each.subject,
            "reason": each.reason[:200],
            "by": each.by[:100],
            "at": each.at.isoformat(),
        }
    for key, found in state.breakers.items():
        told[f"breaker/{key}"] = breaker.view(found).model_dump(mode="json")
    return told


def _settings(state: FleetState) -> dict[str, object]:
    return {
        "defaults": state.defaults.model_dump(mode="json"),
        "settings": {key: each.model_dump(mode="json") for key, each in state.settings.items()},
    }


def views(state: FleetState) -> dict[str, BreakerView]:
    return {key: breaker.view(each) for key, each in state.breakers.items()}
