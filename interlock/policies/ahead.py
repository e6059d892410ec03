"""Kills that the switch has been sent and has not taken in yet: every worker obeys them at once.

    kill     stands from when the server has it, until the switch says that it has taken it in
    release  ends it

* Nobody has to be there to take it in: a worker that froze with the switch's task keeps it for ten seconds.
* The switch does not take in all: one that it has no room for it refuses. What it has passed over for long is given up;
  for as long as it does nothing, what it was told stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from interlock.contracts import Kill, KillOrder
from interlock.policies.switch import in_force, name

LONGEST = timedelta(minutes=1)
"""What the switch has not taken in so long after it was told, it never will."""


Signal: TypeAlias = Literal["kill", "release"]


def told(ahead: Mapping[str, Kill], signal: Signal, order: KillOrder, at: datetime) -> Mapping[str, Kill]:
    """``ahead`` with what was signalled ``at``, by the server's clock."""
    key = name(order.scope, order.subject)
    match signal:
        case "kill":
            return {**ahead, key: in_force(order, at)}
        case "release":
            return {other: kill for other, kill in ahead.items() if other != key}


def standing(
    ahead: Mapping[str, Kill], kills: Mapping[str, Kill], released: Mapping[str, Kill], worked: datetime
) -> Mapping[str, Kill]:
    """Those of ``ahead`` that the switch, with ``kills`` in force and those ``released``, has not taken in.
    ``worked``: when it last did anything, by the server's clock."""

    def taken_in(key: str, order: Kill) -> bool:
        if order.scope != "run" and key in kills:  # given twice, it is one order
            return True
        return any(key in known and known[key].at >= order.at for known in (kills, released))

    return {key: each for key, each in ahead.items() if worked - each.at < LONGEST and not taken_in(key, each)}
