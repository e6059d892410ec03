"""Kills: an order, what is in force, how far its runs have been ended, and what a run proves of its own."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, AwareDatetime, StringConstraints, model_validator

from interlock.contracts.base import Asked, Few, Who, Wire

Scope: TypeAlias = Literal["run", "user", "all"]
MOST_BYTES = 1000
"""The server takes no longer id. What it does not take, from a workflow, fails that workflow's task again and again."""


def _fits_an_id(subject: str) -> str:
    if (size := len(subject.encode())) > MOST_BYTES:
        raise ValueError(f"it has {size} bytes; an id has {MOST_BYTES} at most")
    return subject


Subject = Annotated[str, StringConstraints(max_length=MOST_BYTES), AfterValidator(_fits_an_id)]


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


class Stopped(Asked):
    """What a worker's gate has done about a kill: calls in flight it dropped, and attempts it refused."""

    scope: Scope
    subject: str
    stopped: Few = 0
    refused: Few = 0


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
