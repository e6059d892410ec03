"""Payloads encrypted with AES-256-GCM, each bound to the place it was written for.

What a payload is bound to stands beside it, readable and authenticated (``interlock-bound``). The codec server, which
is told of no workflow, decodes by it; everybody else compares it with the place where the payload was found.

    bound       the namespace; the workflow id; whether it belongs to the workflow itself (``workflow``: what it is
                started with and gives, signals, updates, queries, memo, summaries, continue-as-new) or to one of its
                activities (``activity:model``: arguments, result, failure, heartbeats), and to which call of it, where
                the run itself has named the call (``model``; the SDK tells a workflow no other activity ids)
    not bound   the execution of a workflow id (a run that continues as new reads what the last one wrote), the name of
                a signal or update, and whether a payload is an argument or a result: the SDK tells a codec none of
                them. So who can write to the server may say to a run again what was once said to it.

Each workflow has a key of its own, derived from the first of ``INTERLOCK_ENCRYPTION_KEY``. The nonce is random.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ActivitySerializationContext,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)

from interlock.keys import VARIABLE, Keys
from interlock.tombstones import ENCRYPTED, KeptContext, tombstone, why_unreadable

NONCE = 12
CIPHER = b"AES-256-GCM"


class Sealed(ValueError):
    """A payload that does not open; the text says why."""


@dataclass(frozen=True)
class Place:
    """What a payload is bound to. ``call``: an activity's id; ``None`` where nobody knows it."""

    namespace: str = ""
    workflow: str = ""
    field: str = ""
    call: str | None = None

    @classmethod
    def of(cls, context: SerializationContext) -> Self:
        match context:
            case WorkflowSerializationContext():
                return cls(context.namespace, context.workflow_id, "workflow")
            case ActivitySerializationContext():
                field = f"activity:{context.activity_type}"
                return cls(context.namespace, context.workflow_id or "", field, context.activity_id)
            case KeptContext():
                return cls(field=f"kept:{context.place}")
            case _:
                return cls(field=type(context).__name__)

    @classmethod
    def read(cls, text: bytes) -> Self:
        """Raises ``Sealed``: anybody may have written it."""
        try:
            said = json.loads(text)
            found = cls(**said)
        except (ValueError, TypeError, RecursionError):
            raise Sealed("it does not say where it belongs") from None
        if not all(isinstance(each, str) or each is None for each in said.values()) or found.written() != text:
            raise Sealed("it does not say where it belongs")
        return found

    def written(self) -> bytes:
        said = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(said, separators=(",", ":"), sort_keys=True).encode()

    def admits(self, other: Place) -> bool:
        """Whether what was written for ``other`` belongs here."""
        one_call = self.call is None or other.call is None or self.call == other.call
        return one_call and replace(self, call=None) == replace(other, call=None)

    def __str__(self) -> str:
        return f"{self.field or 'no place'} of {self.workflow or 'no workflow'} in {self.namespace or 'no namespace'}"


class Encryption(PayloadCodec, WithSerializationContext):
    """The codec of worker, client and command line. Without a context (the codec server, readers of whole histories) it
    reads whatever was encrypted with a known key, wherever it is found; what it writes then belongs nowhere."""

    def __init__(self, keys: Keys, place: Place | None = None) -> None:
        self.keys = keys
        self._place = place

    def with_context(self, context: SerializationContext) -> Encryption:
        return Encryption(self.keys, Place.of(context))

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self.seal(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._opened(payload) for payload in payloads]

    def _opened(self, payload: Payload) -> Payload:
        if why_unreadable(payload) is not None:
            return payload
        try:
            found, place = self.open(payload)
            if self._place is not None and not self._place.admits(place):
                raise Sealed(f"it was moved: it belongs to {place}, and was found in {self._place}")
        except Sealed as error:
            return tombstone(str(error))
        return found

    def keyed_name(self, data: bytes) -> str:
        """What to call ``data`` here: the same for the same, and no hash of it to guess by without the key."""
        place, key = self._place or Place(), self.keys.first
        return hmac.digest(self.keys.derived(key, "name", place.namespace, place.workflow), data, "sha256").hex()

    def seal(self, payload: Payload) -> Payload:
        place, key = self._place or Place(), self.keys.first
        bound, nonce = place.written(), os.urandom(NONCE)
        sealed = _cipher(self.keys, key, place).encrypt(nonce, payload.SerializeToString(), _beside(key, bound))
        return Payload(
            metadata={
                "encoding": ENCRYPTED,
                "encryption-cipher": CIPHER,
                "encryption-key-id": key.encode(),
                "interlock-bound": bound,
            },
            data=nonce + sealed,
        )

    def open(self, payload: Payload) -> tuple[Payload, Place]:
        """A payload and what it is bound to, which is for the caller to compare. Raises ``Sealed``."""
        if payload.metadata.get("encoding") != ENCRYPTED:
            raise Sealed(f"it is not encrypted, and {VARIABLE} is set")
        bound = payload.metadata.get("interlock-bound", b"")
        key = payload.metadata.get("encryption-key-id", b"").decode(errors="replace")[:40]
        if key not in self.keys.by_id:
            raise Sealed(f"it is encrypted with key {key or 'unknown'}, which {VARIABLE} does not hold")
        place = Place.read(bound)
        try:
            opened = _cipher(self.keys, key, place).decrypt(
                payload.data[:NONCE], payload.data[NONCE:], _beside(key, bound)
            )
            return Payload.FromString(opened), place
        except (InvalidTag, ValueError):
            raise Sealed(f"it was altered, or made without key {key}") from None


def _cipher(keys: Keys, key: str, place: Place) -> AESGCM:
    return AESGCM(keys.derived(key, "payload", place.namespace, place.workflow))


def _beside(key: str, bound: bytes) -> bytes:
    """What is authenticated and not encrypted."""
    return b"\0".join((b"interlock payload 1", key.encode(), bound))
