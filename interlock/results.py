"""Results of tools that are too long for a history, whole, as files in the store: ``results/<sha256>``.

A file is the text itself, in UTF-8; where payloads are encrypted it is a payload, encrypted as they are for that run.
Its name is the hash of what is in it, so that a file can be checked, and one that exists is never written again.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import uuid
from pathlib import Path

from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, PayloadCodec, WorkflowSerializationContext

from interlock.converter import store_directory
from interlock.errors import BadRequest
from interlock.tombstones import why_unreadable

FOLDER = "results"


async def keep(converter: DataConverter, namespace: str, run: str, data: bytes) -> str:
    """Write a result of ``run``; its place in the store, ``results/<sha256>``. Raises ``OSError``, or what the codec
    raises."""
    if (codec := _codec(converter, namespace, run)) is not None:
        [payload] = await codec.encode([Payload(metadata={"encoding": b"binary/plain"}, data=data)])
        data = payload.SerializeToString()
    return await asyncio.to_thread(_write, store_directory(converter), data)


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


def _write(store: Path, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    path = store / FOLDER / digest
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written aside and renamed: a worker that dies in the middle leaves no half result under the name.
        partial = path.with_suffix(f".{uuid.uuid4().hex}.partial")
        try:
            partial.write_bytes(data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return f"{FOLDER}/{digest}"
