"""How values become payloads: pydantic's JSON, encrypted where there is a key; large ones in a store of their own.

Worker, client and command line use the same. A client in another language needs only JSON: nothing below the
threshold is ever stored elsewhere, and what people send and read is far below it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseError
from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter, PydanticPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    EncodingPayloadConverter,
    ExternalStorage,
    PayloadCodec,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from interlock.errors import BadKey, StoreUnreachable
from interlock.keys import VARIABLE, Keys
from interlock.references import InterlockDataConverter
from interlock.tombstones import UNREAD, EncryptedFailures, Failures, tombstone, unreadable
from interlock.whole_files import write_whole

STORE_ABOVE = 1024 * 1024
"""Bytes above which a payload is stored externally: half of what the server takes in one payload."""


class _Json(PydanticJSONPlainPayloadConverter):
    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        try:
            return super().from_payload(payload, type_hint)
        except ValidationError as error:
            if type_hint is None or type_hint is Any:
                return unreadable(error.errors(include_url=False)[0]["msg"], type_hint)
            raise


class InterlockPayloadConverter(CompositePayloadConverter):
    """Pydantic's converters; unreadable JSON where anything is allowed becomes ``Unreadable``, and so does whatever no
    converter reads. See ``interlock.tombstones``."""

    def __init__(self) -> None:
        self.converters = _converters()  # and not super's, which makes the mapping anew

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        hints = type_hints or []
        return [self._value(each, hints[n] if n < len(hints) else None) for n, each in enumerate(payloads)]

    def _value(self, payload: Payload, type_hint: type | None) -> Any:
        try:
            [value] = super().from_payloads([payload], None if type_hint is None else [type_hint])
        except (KeyError, RuntimeError, UnicodeDecodeError, ParseError):  # what the SDK raises at a stranger's encoding
            encoding = payload.metadata.get("encoding", b"none")[:60].decode(errors="replace")
            return unreadable(f"nothing here reads its encoding, {encoding!r}", type_hint)
        return value


@functools.cache
def _converters() -> Mapping[bytes, EncodingPayloadConverter]:
    """By encoding. Made once: the SDK makes a payload converter a dozen times a step, and each would build its
    validators again."""
    inherited = PydanticPayloadConverter().converters.values()
    ours = (_Json() if each.encoding == "json/plain" else each for each in inherited)
    return {each.encoding.encode(): each for each in (*ours, *UNREAD)}


class FileStore(StorageDriver):
    """Keeps payloads as files, named by what is in them, in a directory that all workers share. With ``keys`` a claim
    carries a seal, so that nobody without them can make a workflow read what is not there."""

    def __init__(self, directory: Path, keys: Keys | None = None) -> None:
        self._directory = directory
        self._keys = keys

    @property
    def directory(self) -> Path:
        return self._directory

    def name(self) -> str:
        return "interlock.files"

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        return [self._write(payload.SerializeToString()) for payload in payloads]

    def _write(self, data: bytes) -> StorageDriverClaim:
        digest = hashlib.sha256(data).hexdigest()
        write_whole(self._directory / digest[:2] / digest, data)
        return StorageDriverClaim({"sha256": digest, **({"seal": self._keys.seal(digest)} if self._keys else {})})

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        return [self._read(claim.claim_data.get("sha256", ""), claim.claim_data.get("seal", "")) for claim in claims]

    def _read(self, digest: str, seal: str) -> Payload:
        if not re.fullmatch("[0-9a-f]{64}", digest):
            return tombstone("it refers to nothing in the store")
        if self._keys is not None and not self._keys.is_sealed(digest, seal):
            return tombstone(f"it refers to the store without the seal of a key that {VARIABLE} holds")
        path = self._directory / digest[:2] / digest
        try:
            return Payload.FromString(path.read_bytes())
        except FileNotFoundError:
            raise StoreUnreachable(
                f"a stored payload is not in {self._directory}: set INTERLOCK_STORE to the directory that all "
                "workers and clients of this namespace share"
            ) from None


def data_converter(store: Path | None = None, keys: Keys | None = None) -> DataConverter:
    """The data converter of every Interlock client and worker. ``store``: where large payloads are kept;
    default ``INTERLOCK_STORE``, else ``.interlock/store``. ``keys``: by default those of ``INTERLOCK_ENCRYPTION_KEY``;
    where there are none, nothing is encrypted. Raises ``BadKey``."""
    directory = store or store_directory()
    keys = keys or Keys.of_environment()
    return InterlockDataConverter(
        payload_converter_class=InterlockPayloadConverter,
        payload_codec=None if keys is None else _codec(keys),
        failure_converter_class=Failures if keys is None else EncryptedFailures,
        external_storage=ExternalStorage(drivers=[FileStore(directory, keys)], payload_size_threshold=STORE_ABOVE),
    )


def _codec(keys: Keys) -> PayloadCodec:
    try:
        from interlock.encryption import Encryption
    except ImportError as error:
        raise BadKey(
            f"{VARIABLE} is set, and {error.name or 'cryptography'} is not installed: "
            "pip install 'interlock[encryption]'"
        ) from None
    return Encryption(keys)


def store_directory(converter: DataConverter | None = None) -> Path:
    """Where files of this namespace are kept: what ``converter`` uses, else ``INTERLOCK_STORE``, else its default."""
    storage = converter.external_storage if converter is not None else None
    for driver in storage.drivers if storage is not None else ():
        if isinstance(driver, FileStore):
            return driver.directory
    return Path(os.environ.get("INTERLOCK_STORE", ".interlock/store"))
