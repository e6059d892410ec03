"""What a history tells of a run, one thing after the other. Whoever reads one makes these of its events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from interlock.contracts import Usage
from interlock.spans.span import NOTHING, Ending, Kind

NEXT, CURRENT = "next", "current"
"""In the place of a stage: see ``Began``."""


@dataclass(frozen=True)
class Started:
    """The run began. ``before``: what it had spent before the history that is read begins."""

    at: datetime
    agent: str
    before: Usage = NOTHING


@dataclass(frozen=True)
class Began:
    """Something under the run began. ``stage``: which it belongs to; ``None``: the run itself; ``next``: that of the
    call that it prepares; ``current``: that of the last call."""

    id: str
    at: datetime
    name: str
    kind: Kind
    stage: str | None = None
    granted: int | None = None


@dataclass(frozen=True)
class Ended:
    """It ended."""

    id: str
    at: datetime
    state: Ending = "done"
    error: str = ""
    attempts: int = 1
    lost: tuple[str, ...] = ()
    usage: Usage = NOTHING


@dataclass(frozen=True)
class Heard:
    """It is still under way, and this is what the server tells of its attempts."""

    id: str
    attempts: int
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class Waits:
    """The run began to wait; ``why`` is empty when it goes on. ``timed``: a timer tells more of it, if there is one."""

    at: datetime
    why: str = ""
    timed: bool = False


@dataclass(frozen=True)
class Said:
    """Somebody said something to the run, or its code failed."""

    at: datetime
    text: str
    broken: bool = False


@dataclass(frozen=True)
class Closed:
    """The run ended. ``usage``: what it says it was charged; ``None``: it did not say."""

    at: datetime
    state: Ending = "done"
    error: str = ""
    usage: Usage | None = None


Fact: TypeAlias = Started | Began | Ended | Heard | Waits | Said | Closed
