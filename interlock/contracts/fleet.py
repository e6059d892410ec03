"""The switch and the breakers of the whole fleet: what workers report to ``FleetControl``, its rules and its state."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from interlock.contracts.base import Asked, Wire
from interlock.contracts.breaker import Breaker, BreakerSettings, BreakerView, Outcomes, RecordedSettings, Worker
from interlock.contracts.kill import Kill, Stopped


class Report(Asked):
    """Payload of ``report``."""

    worker: Worker
    outcomes: Annotated[tuple[Outcomes, ...], Field(max_length=1000)] = ()
    kills: Annotated[tuple[Stopped, ...], Field(max_length=1000)] = ()


class FleetSettings(Wire):
    """How ``FleetControl`` judges. Part of its state, so that another release does not judge its history otherwise.

    kept_seconds    how long a kill of a single run is kept: its calls are long over by then
    kept_runs       and how many of them at most: together with
    kept_users      users, and
    kept_breakers   dependencies, they have to fit into a memo, and into the input of the next execution. The server
                    takes 2 MiB of each, and fails the workflow that wants more, so they are counted in bytes as well:
    run_bytes       kills of single runs,
    user_bytes      kills of users, and of everything,
    breaker_bytes   breakers,
    settings_bytes  and settings, take so many at most
    probe_margin    seconds a probe's lease is longer than the call may take
    kept_settings   dependencies with settings of their own, at most
    kept_alerts     alerts that wait to be raised; in a storm the first ones say what is going on
    alerts_at_once  alerts being raised side by side: a webhook that hangs holds each for a while
    probe_seconds   the longest lease of a probe
    settle_every    seconds after which old failures are looked for, while there are any
    events          history length at which it continues as new even in the middle of a sweep
    heard_at_once   orders and outcomes taken in by one workflow task: one that takes two seconds is given up, and what
                    had come while no worker served would be given up again and again
    told_at_once    killed runs being told of it: the server fails a workflow that has 2,000 signals under way
    sweeps_at_once  sweeps side by side: they share what the index can answer, and the server's limit on activities"""

    kept_seconds: float = 900.0
    kept_runs: int = 300
    kept_users: int = 2000
    kept_breakers: int = 500
    run_bytes: int = 200_000
    user_bytes: int = 800_000
    breaker_bytes: int = 900_000
    settings_bytes: int = 150_000
    kept_settings: int = 200
    kept_alerts: int = 100
    alerts_at_once: int = 20
    probe_seconds: float = 3600.0
    probe_margin: float = 5.0
    settle_every: float = 15.0
    events: int = 20_000
    heard_at_once: int = 200
    told_at_once: int = 100
    sweeps_at_once: int = 20


class FleetState(Wire):
    """``FleetControl``'s whole state: what its start, and each continue-as-new, is given. ``released``: kills that are
    not in force any more, until all that was open when they came has ended. ``no_room``: orders and breakers for
    which there was none."""

    rules: FleetSettings = FleetSettings()
    defaults: RecordedSettings = BreakerSettings()
    settings: dict[str, RecordedSettings] = Field(default_factory=dict)
    breakers: dict[str, Breaker] = Field(default_factory=dict)
    kills: dict[str, Kill] = Field(default_factory=dict)
    released: dict[str, Kill] = Field(default_factory=dict)
    ignored_signals: int = 0
    no_room: int = 0


class FleetStatus(Wire):
    """Answer of the ``status`` query. ``released``: kills that are not in force any more, and whose sweep goes on."""

    kills: tuple[Kill, ...] = ()
    released: tuple[Kill, ...] = ()
    breakers: dict[str, BreakerView] = Field(default_factory=dict)
    defaults: RecordedSettings = BreakerSettings()
    settings: dict[str, RecordedSettings] = Field(default_factory=dict)
    ignored_signals: int = 0
    no_room: int = 0
