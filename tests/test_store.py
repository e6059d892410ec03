"""The store of large payloads: a directory that workers of several containers write at the same time."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import StorageDriverRetrieveContext, StorageDriverStoreContext

from interlock.converter import FileStore

LARGE = Payload(metadata={"encoding": b"binary/plain"}, data=b"x" * 2_000_000)


async def test_two_workers_that_are_the_same_number_to_their_containers_store_the_same_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process here, so that both have one number: the second stores all of it while the first is at it."""
    one, other, written = FileStore(tmp_path), FileStore(tmp_path), Path.write_bytes

    def write_bytes(path: Path, data: bytes) -> int:
        monkeypatch.setattr(Path, "write_bytes", written)
        size = path.write_bytes(data)
        other._write(LARGE.SerializeToString())
        return size

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    claims = await one.store(StorageDriverStoreContext(), [LARGE])
    assert await other.retrieve(StorageDriverRetrieveContext(), claims) == [LARGE]
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


async def test_what_could_not_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Path.write_bytes

    def write_bytes(path: Path, data: bytes) -> int:
        written(path, data[:1000])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(OSError, match="No space left"):
        await FileStore(tmp_path).store(StorageDriverStoreContext(), [LARGE])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
