"""What can go wrong, and what is done about it: one table, and the exceptions that carry its kinds.

    Exception
    ├── Failure                a call failed; ``kind`` is a row of ``TABLE``
    ├── ToolError              raised by a tool's author: tell the model, do not try again
    └── InterlockError         raised by client code; its text is the message, one line
        ├── RunNotFound
        ├── NoServer
        ├── NoWorker
        ├── RunFailed
        ├── BadKey
        ├── StoreUnreachable
        └── BadRequest

Every kind is a Temporal error type, and appears under that name in the Web UI. Pure: standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from typing_extensions import TypeIs

Action: TypeAlias = Literal["retry", "route_around", "give_up"]
Fate: TypeAlias = Literal["unknown", "unbilled", "billed"]
Kind: TypeAlias = Literal[
    "InvalidTask",
    "AgentElsewhere",
    "UnknownAgent",
    "UnpricedModel",
    "RunKilled",
    "CircuitOpen",
    "FleetUnreachable",
    "BudgetExceeded",
    "AccountBusy",
    "CallStopped",
    "ModelRateLimited",
    "ModelOverloaded",
    "ModelUnavailable",
    "ModelTimeout",
    "ModelRejected",
    "ModelReplyInvalid",
    "UnknownTool",
    "ToolArgumentsInvalid",
    "ToolFailed",
    "ToolOutcomeUnknown",
    "ToolInputStale",
    "TranscriptMismatch",
    "Unreadable",
]

# retry         Temporal tries the same again, as patiently as the retry policy says; when its attempts are
#               used up the run routes around, or the model is told (tools)
# route_around  never tried again as it is: another model, or the model is told (tools)
# give_up       nothing else can help: the run ends, or steps down its ladder
TABLE: MappingProxyType[Kind, Action] = MappingProxyType(
    {
        "ModelRateLimited": "retry",  # 429 with or without Retry-After
        "ModelOverloaded": "retry",  # 529, overloaded_error
        "ModelUnavailable": "retry",  # 5xx, connection refused, reset or cut
        "ModelTimeout": "retry",  # no answer within step_seconds
        "ModelReplyInvalid": "retry",  # an answer that is no answer in the provider's own format
        "ModelRejected": "route_around",  # 400, 401, 403, 404, quota or billing: the same request fails again
        "CircuitOpen": "route_around",  # known to be down: asking would only hurt it
        "FleetUnreachable": "retry",  # nobody can know what is killed: nothing was sent
        "AccountBusy": "retry",  # others hold the account's money and may bring it back
        "BudgetExceeded": "give_up",  # what was not granted cannot be spent
        "CallStopped": "give_up",  # the run was cancelled or killed while the call was in flight
        "RunKilled": "give_up",
        "InvalidTask": "give_up",
        "AgentElsewhere": "retry",  # this worker does not have it, and others of the queue may: one is asked in a while
        "UnknownAgent": "give_up",
        "UnpricedModel": "give_up",
        "TranscriptMismatch": "give_up",  # history and call disagree: a defect, never the provider's fault
        "Unreadable": "give_up",  # a payload that does not decrypt: the same one will not tomorrow either
        "ToolFailed": "retry",  # it raised; tried again where its effect allows it
        "ToolArgumentsInvalid": "route_around",  # the model is told what does not fit
        "UnknownTool": "route_around",  # the model is told which tools there are
        "ToolOutcomeUnknown": "route_around",  # a write whose fate nobody knows is never run again by itself
        "ToolInputStale": "route_around",  # not run: what the call relies on is checked again first
    }
)

NEVER_RETRIED: tuple[str, ...] = (*(kind for kind, action in TABLE.items() if action != "retry"), "PayloadsTooLarge")
"""For ``RetryPolicy.non_retryable_error_types``. ``PayloadsTooLarge`` is the SDK's, and retryable there."""


def action_for(error_type: str | None) -> Action:
    """What to do about an activity's error type. An unknown one, from a tool's or a library's own exception,
    is tried again as often as its policy allows: a bound that every policy here has."""
    return TABLE[error_type] if is_kind(error_type) else "retry"


OUTAGES: frozenset[Kind] = frozenset({"ModelUnavailable", "ModelOverloaded", "ModelTimeout"})
"""What a circuit breaker counts. A 429 is backed off from instead, and a 4xx says nothing about others."""


STOPPED: frozenset[str] = frozenset({"CallStopped", "RunKilled"})
"""A call that ends so was stopped with its run, and has not failed. Which of the two it says depends on whose word of
the kill came first: the run's, or the gate's."""


def is_kind(error_type: object) -> TypeIs[Kind]:
    return error_type in get_args(Kind)


def kind_of_status(status: int, said: str = "") -> Kind:
    """The kind of an HTTP error of a model's provider, from its status and what its body says."""
    words = re.sub(r"https?://\S+", "", said.lower())  # an address that says "billing" says nothing
    match status:
        case 429 if any(word in words for word in ("insufficient_quota", "billing", "spend limit", "credit balance")):
            return "ModelRejected"
        case 429:
            return "ModelRateLimited"
        case 529:
            return "ModelOverloaded"
        case 408 | 504:
            return "ModelTimeout"
        case 409 | 425:
            return "ModelUnavailable"
        case _ if status >= 500:
            return "ModelOverloaded" if "overloaded" in words else "ModelUnavailable"
        case _:
            return "ModelRejected"


class Failure(Exception):
    """A call that failed.

    kind         a row of ``TABLE``
    retry_after  seconds its provider asked to wait, if it did
    fate         whether the attempt was billed
    outage       whether it tells that what was called is down; by default as ``OUTAGES`` says
    told         what the run is told of it besides, by name
    """

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        retry_after: float | None = None,
        fate: Fate = "unbilled",
        outage: bool | None = None,
        told: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.retry_after = retry_after
        self.fate: Fate = fate
        self.outage = kind in OUTAGES if outage is None else outage
        self.told = dict(told or {})


class ToolError(Exception):
    """Raised by a tool to tell the model that the call did not work, and why. Not tried again."""


class InterlockError(Exception):
    """What client code can do something about; the text says what."""


class NoServer(InterlockError):
    """No Temporal server answers."""


class NoWorker(InterlockError):
    """No worker polls the task queue."""


class RunNotFound(InterlockError):
    """There is no such run."""


class RunFailed(InterlockError):
    """The run ended without an ``AgentResult``."""


class BadKey(InterlockError):
    """A key for encryption is malformed, or missing where what is there was encrypted with it."""


class StoreUnreachable(InterlockError):
    """The store of large payloads does not have what a history refers to."""


class BadRequest(InterlockError):
    """What was asked cannot be done; nothing was started or changed."""
