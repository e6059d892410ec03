"""Results of tools that are too long for a history, whole, as files in the store: ``results/<sha256>``.

A file is the text itself, in UTF-8, and its name is the hash of that: the same result has the same name, and a file
that exists is not written again. Where payloads are encrypted it is one, encrypted as they are for that run; its name
is a keyed hash of the text, so that the same is still the same, and nobody can try what it might be.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from pathlib import Path
from typing import Protocol, runtime_checkable

from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, PayloadCodec, WorkflowSerializationContext

from interlock.converter import store_directory
from interlock.errors import BadRequest
from interlock.tombstones import why_unreadable
from interlock.whole_files import write_whole

FOLDER = "results"


@runtime_checkable
class Names(Protocol):
    """A codec that can name what it encrypts: ``interlock.encryption``, which not everybody has installed."""

    def keyed_name(self, data: bytes) -> str: ...


async def keep(converter: DataConverter, namespace: str, run: str, data: bytes) -> str:
    """Write a result of ``run``; its place in the store, ``results/<sha256>``. Raises ``OSError``, or what the codec
    raises."""
    codec, store = _codec(converter, namespace, run), store_directory(converter)
    if codec is None:
        return await asyncio.to_thread(_write, store, data, hashlib.sha256(data).hexdigest())
    [payload] = await codec.encode([Payload(metadata={"encoding": b"binary/plain"}, data=data)])
    sealed = payload.SerializeToString()
    # A codec of somebody else's has no keys to name it by: then the same result has another name each time.
    name = codec.keyed_name(data) if isinstance(codec, Names) else hashlib.sha256(sealed).hexdigest()
    return await asyncio.to_thread(_write, store, sealed, name)


async def read(converter: DataConverter, namespace: str, run: str, digest: str) -> str:
    """A result of ``run`` that was kept. Raises ``BadRequest`` when it is not there or cannot be decoded."""
    digest = digest.removeprefix(f"{FOLDER}/")
    folder = store_directory(converter) / FOLDER
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise BadRequest(f"{digest!r} names no result: a note at the end of a cut result says results/<64 digits>")
    try:
        data = await asyncio.to_thread((folder / digest).read_bytes)
    except OSError as error:
        raise BadRequest(
            f"result {digest} cannot be read in {folder} ({error.strerror}): set INTERLOCK_STORE to the directory "
            "that the workers use"
        ) from None
    if (codec := _codec(converter, namespace, run)) is not None:
        try:
            [payload] = await codec.decode([Payload.FromString(data)])
        except Exception as error:
            raise BadRequest(f"result {digest} of run {run} cannot be decoded: {error}") from error
        if (why := why_unreadable(payload)) is not None:
            raise BadRequest(f"result {digest} of run {run} cannot be decoded: {why}")
        data = payload.data
    return data.decode(errors="replace")


def _codec(converter: DataConverter, namespace: str, run: str) -> PayloadCodec | None:
    return converter.with_context(WorkflowSerializationContext(namespace=namespace, workflow_id=run)).payload_codec


def _write(store: Path, data: bytes, digest: str) -> str:
    write_whole(store / FOLDER / digest, data)
    return f"{FOLDER}/{digest}"
