"""How values become payloads: pydantic's JSON, and large ones in a store beside the history.

Worker, client and command line use the same. A client in another language needs only JSON: nothing below the
threshold is ever stored elsewhere, and what people send and read is far below it.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter, PydanticPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    EncodingPayloadConverter,
    ExternalStorage,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

STORE_ABOVE = 1024 * 1024
"""Bytes above which a payload is stored externally: half of what the server takes in one payload."""


@dataclass(frozen=True)
class Unreadable:
    """Stands for a payload that is not what its header says. Handlers count it and go on: an exception here
    would fail the workflow task for ever, and the run would hear neither signals nor a cancellation."""

    why: str


class _Json(PydanticJSONPlainPayloadConverter):
    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        try:
            return super().from_payload(payload, type_hint)
        except ValidationError as error:
            if type_hint is None or type_hint is Any:
                return Unreadable(error.errors(include_url=False)[0]["msg"])
            raise


class InterlockPayloadConverter(CompositePayloadConverter):
    """Pydantic's converters; unreadable JSON where anything is allowed becomes ``Unreadable``."""

    def __init__(self) -> None:
        super().__init__(*_converters())


@functools.cache
def _converters() -> tuple[EncodingPayloadConverter, ...]:
    """Made once: the SDK makes a payload converter anew for every task, and each would build its validators again."""
    inherited = PydanticPayloadConverter().converters.values()
    return tuple(_Json() if each.encoding == "json/plain" else each for each in inherited)


class FileStore(StorageDriver):
    """Keeps payloads as files, named by what is in them, in a directory that all workers share."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def directory(self) -> Path:
        return self._directory

    def name(self) -> str:
        return "interlock.files"

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        return [self._write(payload.SerializeToString()) for payload in payloads]

    def _write(self, data: bytes) -> StorageDriverClaim:
        digest = hashlib.sha256(data).hexdigest()
        path = self._directory / digest[:2] / digest
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Written aside and renamed: a worker that dies in the middle leaves no half payload under the name.
            partial = path.with_suffix(f".{os.getpid()}.partial")
            partial.write_bytes(data)
            partial.replace(path)
        return StorageDriverClaim({"sha256": digest})

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        return [self._read(claim.claim_data["sha256"]) for claim in claims]

    def _read(self, digest: str) -> Payload:
        path = self._directory / digest[:2] / digest
        try:
            return Payload.FromString(path.read_bytes())
        except FileNotFoundError:
            raise RuntimeError(
                f"a stored payload is not in {self._directory}: set INTERLOCK_STORE to the directory that all "
                "workers and clients of this namespace share"
            ) from None


def data_converter(store: Path | None = None) -> DataConverter:
    """The data converter of every Interlock client and worker. ``store``: where large payloads are kept;
    default ``INTERLOCK_STORE``, else ``.interlock/store``."""
    driver = FileStore(store or store_directory())
    return DataConverter(
        payload_converter_class=InterlockPayloadConverter,
        external_storage=ExternalStorage(drivers=[driver], payload_size_threshold=STORE_ABOVE),
    )


def store_directory(converter: DataConverter | None = None) -> Path:
    """Where files of this namespace are kept: what ``converter`` uses, else ``INTERLOCK_STORE``, else its default."""
    storage = converter.external_storage if converter is not None else None
    for driver in storage.drivers if storage is not None else ():
        if isinstance(driver, FileStore):
            return driver.directory
    return Path(os.environ.get("INTERLOCK_STORE", ".interlock/store"))
