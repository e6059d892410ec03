"""The kill switch: who is killed, by which order, and what that ends.

    kill    run | user | all  -> in force until released; of a single run: until its calls are long over
    release user | all        -> new runs are let in again; what was killed stays killed

* The widest order that covers a run is the one it is told of: all, then its user, then the run itself.
* An order for a user or for all that is given twice is one order; the first reason stays.
* An order that is released before its sweep is done goes on ending the runs that were open when it came.
* The kill of a single run covers the calls that it had asked for by then. The run itself is told, and asks for no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from interlock.contracts import FleetState, Kill, KillOrder, Scope, Stopped, Sweep
from interlock.policies.room import LONGEST_BY, LONGEST_REASON, cut

LATE = timedelta(seconds=2)
"""A run that is started so soon after a kill may have passed a gate that had not closed."""


def name(scope: Scope, subject: str) -> str:
    """What a kill goes by: ``user:ada``, ``run:<id>``, ``all``."""
    return scope if scope == "all" else f"{scope}:{subject}"


def kill(state: FleetState, order: KillOrder, now: datetime) -> FleetState:
    """``state`` with the order in force; the same object when it is already. ``room.fit`` says whether it can be kept:
    thousands may come at once, and what each costs must not grow with what is there."""
    key = name(order.scope, order.subject)
    before = state.kills.get(key)
    if before is not None and order.scope != "run":  # a run of the same id may be another
        return state
    new = in_force(order, now)
    if order.run_knows and before is not None:  # it asked for calls until it heard: one kill
        new = new.model_copy(update={"stopped": before.stopped, "refused": before.refused})
    kills = dict(state.kills)
    kills.pop(key, None)  # the last one is the last
    kills[key] = new
    if key not in state.released:
        return state.model_copy(update={"kills": kills})
    released = {k: each for k, each in state.released.items() if k != key}  # what it covers, the new one covers
    return state.model_copy(update={"kills": kills, "released": released})


def in_force(order: KillOrder, at: datetime) -> Kill:
    return Kill(
        scope=order.scope,
        subject="" if order.scope == "all" else order.subject,
        reason=cut(order.reason, LONGEST_REASON),
        by=cut(order.by, LONGEST_BY),
        at=at,
    )


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
