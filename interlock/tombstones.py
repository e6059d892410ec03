"""Payloads that cannot be read, and what becomes of them. Nothing here raises where a workflow would be wedged by it:
an exception while a workflow task is decoded fails the task for ever, and the run is deaf to kill and cancel.

    where anything is allowed: signals, updates, what a run is started with
        ``Unreadable``. Handlers count it, validators refuse it, a task that is one is an ``InvalidTask``.
    where a type is promised: results of activities, answers to a client
        ``UnreadablePayload`` is raised. It ends a run as ``Unreadable``, and is one line to a person.
    the arguments of an activity
        It fails as ``Unreadable``, and is not tried again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import (
    DefaultFailureConverter,
    EncodingPayloadConverter,
    PayloadConverter,
    SerializationContext,
)
from temporalio.exceptions import ApplicationError

from interlock.contracts import Unreadable
from interlock.errors import InterlockError

TOMBSTONE = b"interlock/unreadable"
ENCRYPTED = b"binary/encrypted"
"""The encoding that Temporal's own examples use for what is encrypted."""

LONGEST = 300
"""Characters of a reason. A stranger may have written it."""


@dataclass(frozen=True)
class KeptContext(SerializationContext):
    """Where something is kept beside the history, such as an answer in a worker's journal. ``place``: by its key."""

    place: str


class UnreadablePayload(ApplicationError, InterlockError):
    """A payload where a type was promised cannot be read."""

    def __init__(self, why: str) -> None:
        super().__init__(f"cannot be read: {why}", type="Unreadable", non_retryable=True)

    def __str__(self) -> str:
        return self.message


def tombstone(why: str) -> Payload:
    """What stands in the place of a payload that cannot be read."""
    return Payload(metadata={"encoding": TOMBSTONE}, data=why[:LONGEST].encode(errors="replace"))


def why_unreadable(payload: Payload) -> str | None:
    """What a tombstone says; ``None``: it is none."""
    if payload.metadata.get("encoding") != TOMBSTONE:
        return None
    return payload.data[: 4 * LONGEST].decode(errors="replace")[:LONGEST]


class _Unread(EncodingPayloadConverter):
    """Makes nothing, and reads one encoding as unreadable."""

    def __init__(self, encoding: bytes) -> None:
        self._encoding = encoding.decode()

    @property
    def encoding(self) -> str:
        return self._encoding

    def to_payload(self, value: Any) -> Payload | None:
        return None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        return unreadable(self._why(payload), type_hint)

    def _why(self, payload: Payload) -> str:
        return why_unreadable(payload) or "it is not what it says it is"


class _Encrypted(_Unread):
    """Met only where there is no codec: with keys the codec has opened it before."""

    def _why(self, payload: Payload) -> str:
        key = payload.metadata.get("encryption-key-id", b"").decode(errors="replace")[:40]
        return f"it is encrypted{f' with key {key}' if key else ''}, and INTERLOCK_ENCRYPTION_KEY is not set"


UNREAD = (_Unread(TOMBSTONE), _Encrypted(ENCRYPTED))


def unreadable(why: str, type_hint: type | None) -> Unreadable:
    """``Unreadable`` where anything is allowed; raises ``UnreadablePayload`` where a type is promised."""
    if type_hint is None or type_hint is Any:
        return Unreadable(why)
    raise UnreadablePayload(why)


class Failures(DefaultFailureConverter):
    """Failures, of which some cannot be read either."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        # The SDK wraps what it could not decode in an error that is tried again.
        if isinstance(exception, ApplicationError) and isinstance(exception.__cause__, UnreadablePayload):
            exception = exception.__cause__
        super().to_failure(exception, payload_converter, failure)

    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        if failure.HasField("encoded_attributes"):
            [said] = payload_converter.from_payloads([failure.encoded_attributes])
            if isinstance(said, Unreadable):
                copy = Failure()
                copy.CopyFrom(failure)
                copy.ClearField("encoded_attributes")
                copy.message = f"what it says cannot be read: {said.why}"
                failure = copy
        return super().from_failure(failure, payload_converter)


class EncryptedFailures(Failures):
    """The same, with message and stack trace where the codec sees them."""

    def __init__(self) -> None:
        super().__init__(encode_common_attributes=True)
