"""One line of a trace, with those below it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from interlock.contracts import Usage

Kind: TypeAlias = Literal["run", "stage", "chat", "tool", "account", "wait", "said", "charge", "other"]
Ending: TypeAlias = Literal["running", "done", "failed", "cancelled"]

NOTHING = Usage()


@dataclass(frozen=True)
class Span:
    """One line of a trace. ``end`` is ``None`` while it is under way.

    granted  how many attempts it may make; ``None``: nobody says
    lost     why earlier attempts failed, as far as it is known, oldest first
    own      what it used itself; ``usage`` is that and its children's"""

    name: str
    kind: Kind
    start: datetime
    end: datetime | None = None
    state: Ending = "done"
    error: str = ""
    attempts: int = 1
    granted: int | None = None
    lost: tuple[str, ...] = ()
    own: Usage = NOTHING
    children: tuple[Span, ...] = ()

    @property
    def usage(self) -> Usage:
        return sum((child.usage for child in self.children), self.own)
