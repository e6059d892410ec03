"""What there is room for in the fleet's state: all of it goes into a memo, and into the input of the next execution.

* Kills of single runs are forgotten, oldest first: they only serve to drop calls in flight. Kills of users and of
  everything are never forgotten by themselves. One user more than can be kept is refused, and counted.
* More settings of their own than can be kept are refused. Breakers make room in ``breakers``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from json.encoder import encode_basestring

from interlock.contracts import FleetState, Kill

LONGEST_REASON, LONGEST_BY, LONGEST_ERROR = 500, 100, 300
"""What is kept of words, in bytes: they go to every worker with every kill and breaker."""

AROUND = 300
"""Bytes of a kill or of settings on the wire beside the words in them; of a breaker with its error twice as many."""


@lru_cache(8192)  # of all that is kept, with each order
def bytes_of(words: str) -> int:
    """As JSON: a quote takes two bytes, a control character six."""
    said = encode_basestring(words)
    return len(said) if said.isascii() else len(said.encode())


def cut(words: str, most: int) -> str:
    """``words`` in ``most`` bytes, of which a character has up to four."""
    return words.encode()[:most].decode(errors="ignore")


def no_room(state: FleetState, times: int = 1) -> FleetState:
    return state.model_copy(update={"no_room": state.no_room + times})


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
    return no_room(kept, refused) if refused else kept


def _size(key: str, each: Kill) -> int:
    return AROUND + bytes_of(key) + bytes_of(each.subject) + bytes_of(each.reason) + bytes_of(each.by)


def too_many_settings(state: FleetState, dependency: str) -> str | None:
    """Why a dependency cannot have settings of its own, if it cannot."""
    own, rules = {*state.settings, dependency}, state.rules
    if not dependency or dependency in state.settings:
        return None
    if len(own) <= rules.kept_settings and sum(AROUND + bytes_of(each) for each in own) <= rules.settings_bytes:
        return None
    return f"{len(own) - 1} dependencies have settings of their own; there can be no more"
