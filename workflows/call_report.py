"""What became of a run's calls: the ground of what a kill can prove."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from temporalio.exceptions import ActivityError, ApplicationError

from interlock.contracts import Effect, KilledCall, KillReport

KEPT = 1000
"""Completed calls that are remembered, the latest: more than any run makes unless it is told to."""


@dataclass
class CallReport:
    """``under_way``: calls that were sent, with their effect. A kill finds each stopped, completed or unknown."""

    completed: list[KilledCall] = field(default_factory=list)
    stopped: list[KilledCall] = field(default_factory=list)
    unknown: list[KilledCall] = field(default_factory=list)
    under_way: dict[str, tuple[KilledCall, Effect]] = field(default_factory=dict)

    def sent(self, call_id: str, tool: str, effect: Effect) -> None:
        self.under_way[call_id] = (KilledCall(call_id=call_id, tool=tool), effect)

    def returned(self, call_id: str) -> None:
        """It was run, and said so."""
        if (found := self.under_way.pop(call_id, None)) is not None:
            self.completed = [*self.completed, found[0]][-KEPT:]

    def over(self, call_id: str) -> None:
        """It failed and the model is told how, or it was a model's: no matter for a kill that comes later."""
        self.under_way.pop(call_id, None)

    def lost(self, call_id: str) -> None:
        """It may have taken effect, and nobody who was asked could tell."""
        if (found := self.under_way.pop(call_id, None)) is not None:
            self.unknown.append(found[0])

    def never_begun(self, call_id: str) -> None:
        """A kill came before anything was sent."""
        if (found := self.under_way.pop(call_id, None)) is not None:
            self.stopped.append(found[0])

    def cut_off_model(self, key: str, *, sent: bool) -> None:
        """A kill met a call of a model: whether it was sent, and may be billed, its attempts say."""
        if (found := self.under_way.pop(key, None)) is not None:
            (self.unknown if sent else self.stopped).append(found[0])

    def cut_off(self, call_id: str, error: ActivityError) -> None:
        """A kill or a cancellation met it."""
        if (found := self.under_way.pop(call_id, None)) is None:
            return
        call, effect = found
        kept = self.stopped if certainly_not(effect, error) else self.unknown
        kept.append(call)

    def ended_child(self, call_id: str, told: KillReport | None) -> None:
        """A run that was started for it ended before its time. A run by itself has no effect: what its calls had, it
        tells one by one. One that tells nothing may have done anything."""
        if (found := self.under_way.pop(call_id, None)) is None:
            return
        (self.unknown if told is None else self.stopped).append(found[0])
        if told is not None:
            self.stopped += _of(call_id, told.stopped)
            self.completed = [*self.completed, *_of(call_id, told.completed)][-KEPT:]
            self.unknown += _of(call_id, told.unknown)

    def after_a_kill(self) -> KillReport:
        """What is still under way was not waited for: nobody knows."""
        abandoned = [call for call, _ in self.under_way.values()]
        return KillReport(
            stopped=tuple(self.stopped), completed=tuple(self.completed), unknown=(*self.unknown, *abandoned)
        )


def _of(call_id: str, calls: Iterable[KilledCall]) -> list[KilledCall]:
    return [KilledCall(call_id=f"{call_id}/{each.call_id}", tool=each.tool) for each in calls]


def certainly_not(effect: Effect, error: ActivityError) -> bool:
    """Whether a call that was cut off has certainly had no effect: it only reads, or it had not begun.

    A worker that had begun it says so. Without a word from one it was never taken up; but one that may be tried again
    may have been, earlier."""
    if effect == "read":
        return True
    match error.cause:
        case ApplicationError(details=[*_, dict() as told]):
            return _word(told) == "False"
        case ApplicationError():
            return False
        case _:
            return effect == "write"


def _word(told: dict[str, Any]) -> str:
    return str(told.get("began", "True"))
