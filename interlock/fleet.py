"""The fleet's one switchboard: which workflow it is, and what its memo says.

Every change of ``FleetControl``'s state is written to its memo. A memo is read without a worker, and each change
of it is an event in the workflow's history, which any number of readers can wait for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from interlock.contracts import Breaker, BreakerSettings, BreakerView, FleetState, Kill, RecordedSettings, Unreadable

DEFAULT_FLEET = "interlock-fleet"


def fleet_id() -> str:
    """The id of ``FleetControl`` and the task queue that every worker serves it on: ``INTERLOCK_FLEET``, where one
    namespace has several fleets that know nothing of each other; else ``interlock-fleet``."""
    return os.environ.get("INTERLOCK_FLEET") or DEFAULT_FLEET


@dataclass(frozen=True)
class FleetView:
    """What a memo of ``FleetControl`` says. ``released``: kills that are not in force, and end what was open when they
    came."""

    kills: Mapping[str, Kill] = field(default_factory=dict)
    released: Mapping[str, Kill] = field(default_factory=dict)
    breakers: Mapping[str, BreakerView] = field(default_factory=dict)
    defaults: BreakerSettings = field(default_factory=BreakerSettings)
    settings: Mapping[str, BreakerSettings] = field(default_factory=dict)

    @classmethod
    def of(cls, memo: Mapping[str, Any]) -> FleetView:
        """Raises ``ValueError`` for a memo that is not one of ours."""
        kills, released, breakers = {}, {}, {}
        for key, value in memo.items():
            family, _, name = key.partition("/")
            if family == "kill":
                kills[name] = _kill(name, value)
            elif family == "released":
                released[name] = _kill(name, value)
            elif family == "breaker" and not isinstance(value, Unreadable):
                breakers[name] = BreakerView.model_validate(value)
        told = memo.get("settings") or {}
        if isinstance(told, Unreadable):
            told = {}
        return cls(
            kills=kills,
            released=released,
            breakers=breakers,
            defaults=_SETTINGS.validate_python(told.get("defaults") or {}),
            settings={k: _SETTINGS.validate_python(v) for k, v in (told.get("settings") or {}).items()},
        )

    def state(self) -> FleetState:
        """What ``FleetControl`` begins again with, should it have ended: all that is known of it."""
        return FleetState(
            kills=dict(self.kills),
            released=dict(self.released),
            breakers={name: Breaker.model_validate(each.model_dump()) for name, each in self.breakers.items()},
            defaults=self.defaults,
            settings=dict(self.settings),
        )

    def settings_of(self, dependency: str) -> BreakerSettings:
        return self.settings.get(dependency, self.defaults)

    def breaker(self, dependency: str) -> BreakerView:
        return self.breakers.get(dependency) or _CLOSED


def _kill(name: str, value: object) -> Kill:
    """A kill whose payload cannot be read, for want of its key, is in force all the same: its memo key says of whom."""
    if not isinstance(value, Unreadable):
        return Kill.model_validate(value)
    scope, _, subject = name.partition(":")
    return Kill.model_validate({"scope": scope, "subject": subject, "reason": value.why, "at": _EVER})


_EVER = datetime(9999, 1, 1, tzinfo=UTC)
_CLOSED = BreakerView()
_SETTINGS: TypeAdapter[BreakerSettings] = TypeAdapter(RecordedSettings)
