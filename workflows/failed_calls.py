"""Calls of models that failed: what attempts each made, for all are charged, and whether another model may be asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from temporalio.exceptions import ActivityError, ApplicationError, TimeoutType
from temporalio.exceptions import TimeoutError as TimedOut

from interlock.contracts import Attempt, ModelCall, Unreadable
from interlock.errors import action_for
from interlock.policies import charges
from interlock.policies.budget import Refusal


@dataclass
class TurnFailed(Exception):
    """No model gave a usable reply. ``kind``: it was a limit on money, one on time, or the models themselves.
    ``refusal``: of money, what was in the way."""

    reason: str
    kind: Literal["money", "time", "models"]
    refusal: Refusal | None = None


def explain(model: str, error: ActivityError) -> str:
    """Why a call of ``model`` failed, in words, when another model may be asked instead. Raises when none may."""
    match error.cause:
        case ApplicationError(type=kind, message=message):
            if action_for(kind) == "give_up":
                raise TurnFailed(f"{kind}: {message}", "money" if kind == "BudgetExceeded" else "models")
            return f"{kind}: {message.removeprefix(f'{model}: ')}"  # whoever tells of several names each
        case TimedOut():
            return "ModelTimeout: no worker reported an answer in time"
        case _:
            return str(error.cause or error)


def timed_out(error: ActivityError) -> bool:
    return isinstance(error.cause, TimedOut) or _kind(error) == "ModelTimeout"


def _kind(error: ActivityError) -> str | None:
    return error.cause.type if isinstance(error.cause, ApplicationError) else None


def attempts_made(call: ModelCall, error: ActivityError) -> tuple[list[Attempt], int]:
    """The attempts of a call that failed, and how many more there may have been that nobody told of."""
    granted = call.grant.attempts
    match error.cause:
        case ApplicationError(details=[Unreadable(), *_]):
            return [], granted
        case ApplicationError(details=[told, *_]):
            return _attempts(told), 0
        case ApplicationError(type="TranscriptMismatch"):
            return [], 0
        case ApplicationError():  # not one of ours, such as a result that was too large: nobody says what was made
            return [], granted
        case TimedOut(type=TimeoutType.SCHEDULE_TO_START):
            return [], 0
        case TimedOut(last_heartbeat_details=details, type=kind):
            told = _attempts(details[0]) if details else []
            # Time ran out between attempts, or in one: at most one did not get to say that it began. Where all
            # attempts were used, each that is not on record was made.
            silent = 1 if kind == TimeoutType.SCHEDULE_TO_CLOSE else granted
            return told, charges.unreported(told, granted, silent)
        case _:  # cancelled between two attempts, or abandoned: nobody says how many there were
            return [], granted


def _attempts(told: Sequence[Any] | Unreadable) -> list[Attempt]:
    return [] if isinstance(told, Unreadable) else [Attempt.model_validate(each) for each in told]
