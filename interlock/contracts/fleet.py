"""The switch and the breakers of the whole fleet: what ``FleetControl`` is told, what it answers, and its state."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, StringConstraints, model_validator

from interlock.contracts.base import Asked, Count, Who, Wire

Scope: TypeAlias = Literal["run", "user", "all"]
Circuit: TypeAlias = Literal["closed", "open", "half_open"]
Span = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""Seconds, of any number: a breaker that comes back after the end of time never does."""
Dependency = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Worker = Annotated[str, StringConstraints(min_length=1, max_length=300)]
MOST_BYTES = 1000
"""The server takes no longer id. What it does not take, from a workflow, fails that workflow's task again and again."""


def _fits_an_id(subject: str) -> str:
    if (size := len(subject.encode())) > MOST_BYTES:
        raise ValueError(f"it has {size} bytes; an id has {MOST_BYTES} at most")
    return subject


Subject = Annotated[str, StringConstraints(max_length=MOST_BYTES), AfterValidator(_fits_an_id)]
Few = Annotated[Count, Field(le=1_000_000)]
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


class Stopped(Asked):
    """What a worker's gate has done about a kill: calls in flight it dropped, and attempts it refused."""

    scope: Scope
    subject: str
    stopped: Few = 0
    refused: Few = 0


class Report(Asked):
    """Payload of ``report``."""

    worker: Worker
    outcomes: Annotated[tuple[Outcomes, ...], Field(max_length=1000)] = ()
    kills: Annotated[tuple[Stopped, ...], Field(max_length=1000)] = ()


class KillOrder(Asked):
    """Payload of ``kill`` and ``release``. ``subject``: a run's id or a user's; for ``all`` there is none.
    ``run_knows``: it is the run that tells of its kill."""

    scope: Scope
    subject: Subject = ""
    reason: Annotated[str, StringConstraints(max_length=2000)] = ""
    by: Who = "unknown"
    run_knows: bool = False

    @model_validator(mode="after")
    def _subject_fits(self) -> Self:
        if self.scope != "all" and not self.subject.strip():
            raise ValueError(f"scope {self.scope!r} needs a subject: the id of the {self.scope}")
        return self


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


class Sweep(Wire):
    """How far the runs of a kill have been ended. Runs that took a second or third rung are named by their number.
    ``of``: the kill, as ``user:ada`` or ``all``."""

    of: str = ""
    signalled: int = 0
    cancelled: int = 0
    terminated: int = 0
    ended: int = 0
    left: int = 0
    seconds: float = 0.0
    done: bool = False


class Kill(Wire):
    """A kill in force. ``stopped`` and ``refused`` are sums of what the workers' gates report. ``released_at``: it is
    not in force any more, and still ends what was open when it came."""

    scope: Scope
    subject: str = ""
    reason: str = ""
    by: str = "unknown"
    at: AwareDatetime
    stopped: int = 0
    refused: int = 0
    sweep: Sweep | None = None
    released_at: AwareDatetime | None = None


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


class KilledCall(Wire):
    """A call that a kill met, or that had been made before."""

    call_id: str
    tool: str


class KillReport(Wire):
    """What a kill proves. ``stopped``: certainly did not happen. ``completed``: did. ``unknown``: may have."""

    stopped: tuple[KilledCall, ...] = ()
    completed: tuple[KilledCall, ...] = ()
    unknown: tuple[KilledCall, ...] = ()


class SweepCall(Wire):
    """Input of ``sweep``: end every open run that a kill in force covers."""

    kill: Kill
    runs_a_second: int = 200
