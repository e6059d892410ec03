"""A data converter that a forged reference to the store cannot wedge.

A reference is looked up before any codec is asked, and the SDK raises at one that it cannot make sense of: a signal
from anybody would fail the workflow task for ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter

from interlock.errors import StoreUnreachable
from interlock.tombstones import tombstone

Step = Callable[[Sequence[Payload]], Awaitable[list[Payload]]]


@dataclass(frozen=True)
class InterlockDataConverter(DataConverter):
    """Temporal's, with a tombstone in the place of each reference that is none. A reference that is genuine, to a store
    that cannot be reached, still raises: the workflow task is tried again until it can, and nothing is lost."""

    async def _decode_reference_payload_sequence(self, payloads: Sequence[Payload]) -> list[Payload]:
        return await _each(super()._decode_reference_payload_sequence, payloads)

    async def _external_retrieve_payload_sequence(self, payloads: Sequence[Payload]) -> list[Payload]:
        return await _each(super()._external_retrieve_payload_sequence, payloads)


async def _each(step: Step, payloads: Sequence[Payload]) -> list[Payload]:
    return [await _or_tombstone(step, payload) for payload in payloads]


async def _or_tombstone(step: Step, payload: Payload) -> Payload:
    try:
        [found] = await step([payload])
    except (OSError, StoreUnreachable):
        raise
    except Exception as error:  # noqa: BLE001  # whatever the SDK and protobuf raise at what a stranger wrote
        return tombstone(f"it refers to nothing in the store: {type(error).__name__}")
    return found
