"""The fleet's one switchboard: which workflow it is, and what its memo says.

Every change of ``FleetControl``'s state is written to its memo. A memo is read without a worker, and each change
of it is an event in the workflow's history, which any number of readers can wait for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from interlock.contracts import BreakerSettings, BreakerView, Kill, RecordedSettings

DEFAULT_FLEET = "interlock-fleet"


def fleet_id() -> str:
    """The id of ``FleetControl`` and the task queue that every worker serves it on: ``INTERLOCK_FLEET``, where one
    namespace has several fleets that know nothing of each other; else ``interlock-fleet``."""
    return os.environ.get("INTERLOCK_FLEET") or DEFAULT_FLEET


@dataclass(frozen=True)
class FleetView:
    """What a memo of ``FleetControl`` says."""

    kills: Mapping[str, Kill] = field(default_factory=dict)
    breakers: Mapping[str, BreakerView] = field(default_factory=dict)
    defaults: BreakerSettings = field(default_factory=BreakerSettings)
    settings: Mapping[str, BreakerSettings] = field(default_factory=dict)

    @classmethod
    def of(cls, memo: Mapping[str, Any]) -> FleetView:
        """Raises ``ValueError`` for a memo that is not one of ours."""
        kills, breakers = {}, {}
        for key, value in memo.items():
            family, _, name = key.partition("/")
            if family == "kill":
                kills[name] = Kill.model_validate(value)
            elif family == "breaker":
                breakers[name] = BreakerView.model_validate(value)
        told = memo.get("settings") or {}
        return cls(
            kills=kills,
            breakers=breakers,
            defaults=_SETTINGS.validate_python(told.get("defaults") or {}),
            settings={k: _SETTINGS.validate_python(v) for k, v in (told.get("settings") or {}).items()},
        )

    def settings_of(self, dependency: str) -> BreakerSettings:
        return self.settings.get(dependency, self.defaults)

    def breaker(self, dependency: str) -> BreakerView:
        return self.breakers.get(dependency) or _CLOSED


_CLOSED = BreakerView()
_SETTINGS: TypeAdapter[BreakerSettings] = TypeAdapter(RecordedSettings)
