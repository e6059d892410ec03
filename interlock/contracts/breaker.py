"""Breakers: their settings, their state, what workers report of calls and how a probe is acquired."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AwareDatetime, BeforeValidator, Field, StringConstraints

from interlock.contracts.base import Asked, Few, Wire

Circuit: TypeAlias = Literal["closed", "open", "half_open"]
Span = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""Seconds, of any number: a breaker that comes back after the end of time never does."""
Dependency = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Worker = Annotated[str, StringConstraints(min_length=1, max_length=300)]
AtLeastOne = Annotated[int, Field(ge=1, strict=True)]


class BreakerSettings(Asked):
    """When a breaker opens, and how it closes again. In ``FleetControl``'s state: changed with ``configure``.

    failure_threshold   consecutive failures that open it
    failure_rate        or this share of the calls of the last ``window_seconds``,
    least_calls         once they are so many
    window_slices       the window is counted, and forgotten, in so many parts
    recovery_seconds    after which one call may try again
    recovery_factor     each failed try multiplies the time until the next,
    recovery_max        up to so many seconds
    successes_to_close  successful tries, one after the other, that close it
    slow_seconds        after which a call without an answer is slow: until then, and until one has succeeded, a worker
                        has no more calls out than would open the breaker"""

    failure_threshold: AtLeastOne = 5
    failure_rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    window_seconds: Span = 60.0
    least_calls: AtLeastOne = 20
    recovery_seconds: Span = 30.0
    recovery_factor: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 2.0
    recovery_max: Span = 600.0
    successes_to_close: AtLeastOne = 1
    window_slices: Annotated[int, Field(ge=1, le=100, strict=True)] = 12
    slow_seconds: Annotated[float, Field(gt=0, le=3600)] = 1.0


def _known(told: object) -> object:
    return {k: v for k, v in told.items() if k in BreakerSettings.model_fields} if isinstance(told, dict) else told


RecordedSettings: TypeAlias = Annotated[BreakerSettings, BeforeValidator(_known)]
"""Settings as ``FleetControl`` carries and shows them. Asked for, an unknown field is refused; read back, it is passed
over: a worker of an older release must go on mirroring the switch, and not lose its kills when it continues as new."""


class Tally(Wire):
    """Outcomes of one slice of the window."""

    since: AwareDatetime
    failures: int = 0
    successes: int = 0


class Probe(Wire):
    """The one call that tries a dependency that was down. A holder that never reports loses it at ``until``."""

    worker: str
    until: AwareDatetime


class Breaker(Wire):
    """One breaker's whole state. ``generation`` counts its changes of state: an outcome of a call that was admitted in
    an earlier one says nothing about this one. ``recovery`` is the current time until the next try, in seconds."""

    state: Circuit = "closed"
    generation: int = 0
    failures: int = 0
    successes: int = 0
    window: tuple[Tally, ...] = ()
    recovery: float = 0.0
    opened_at: AwareDatetime | None = None
    retry_at: AwareDatetime | None = None
    probe: Probe | None = None
    error: str | None = None
    opened: int = 0


class BreakerView(Wire):
    """What workers are told of a breaker, and what people are shown. ``watched``: it has failures to forget, so
    successes are worth reporting. ``opened_at``: the last time, of one that has not closed since."""

    state: Circuit = "closed"
    generation: int = 0
    watched: bool = False
    retry_at: AwareDatetime | None = None
    probe: Probe | None = None
    error: str | None = None
    opened: int = 0
    opened_at: AwareDatetime | None = None


class Outcomes(Asked):
    """What a worker's calls of one dependency came to, since its last report. ``generation`` is that of the breaker
    when they were admitted; ``probe``: this was the one call that tried. Neither failure nor success: it tried, and
    cannot tell."""

    dependency: Dependency
    failures: Few = 0
    successes: Few = 0
    error: Annotated[str, StringConstraints(max_length=500)] | None = None
    generation: int | None = None
    probe: bool = False


class AcquireProbe(Asked):
    """Payload of ``acquire_probe``. ``seconds``: how long the call may take at most."""

    dependency: Dependency
    worker: Worker
    seconds: Span = 60.0


class ProbeReply(Wire):
    """Answer of ``acquire_probe``. Not granted: not before ``retry_at``, or, without one, the breaker is closed."""

    granted: bool
    retry_at: AwareDatetime | None = None
    generation: int = 0


class Configure(Asked):
    """Payload of ``configure``. Without a dependency: what holds for all that have no settings of their own."""

    dependency: Annotated[str, StringConstraints(max_length=300)] = ""
    settings: BreakerSettings
