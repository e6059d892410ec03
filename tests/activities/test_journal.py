"""The journal of paid answers: it outlives the process that wrote it, and nothing that ails it fails a call."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, PayloadCodec

from activities.journal import Journal
from interlock.contracts import AssistantMessage, Attempt, ModelReply, TextPart
from interlock.converter import data_converter
from tests.root import source_root

SECRET = "forty-two, said in confidence"


def answer(text: str = SECRET) -> ModelReply:
    return ModelReply(
        reply_id="r1",
        message=AssistantMessage(provider="p", parts=(TextPart(text=text),)),
        finish="stop",
        model="p:m",
        attempts=(Attempt(number=1, fate="billed", input_tokens=7, output_tokens=3),),
    )


class Xor(PayloadCodec):
    """As little a cipher as can be; enough to see where plain text would be."""

    def __init__(self, key: int = 0x5A) -> None:
        self._key = key

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(metadata={"encoding": b"toy"}, data=bytes(byte ^ self._key for byte in each.SerializeToString()))
            for each in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload.FromString(bytes(byte ^ self._key for byte in each.data)) for each in payloads]


Open = Callable[..., Journal]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sub" / "journal.db"


@pytest.fixture
async def opened(path: Path) -> AsyncIterator[Open]:
    """Opens journals on ``path`` and closes them in the end."""
    journals: list[Journal] = []

    def open_(converter: DataConverter | None = None, **options: float) -> Journal:
        journals.append(Journal(path, converter or data_converter(path.parent), **options))  # type: ignore[arg-type]
        return journals[-1]

    yield open_
    for journal in journals:
        await journal.close()


def beside(path: Path) -> bytes:
    """All that the journal wrote, in whichever of its files."""
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


async def test_what_one_process_writes_another_reads(opened: Open) -> None:
    writer, reader = opened(), opened()
    await writer.put("k1", answer())
    assert await reader.get("k1") == answer()
    assert await reader.get("k2") is None
    await reader.put("k1", answer("again"))
    found = await writer.get("k1")
    assert found is not None
    assert found.message.text == "again"


WRITER = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from activities.journal import Journal
    from interlock.converter import data_converter
    from tests.activities.test_journal import answer

    async def main():
        path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
        journal = Journal(path, data_converter(path.parent))
        for number in range(count):
            await journal.put(f"{name}-{number}", answer())
        print("put", flush=True)
        await asyncio.sleep(60 if name == "killed" else 0)

    asyncio.run(main())
    """
)


def writing(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(command, cwd=source_root(), stdout=subprocess.PIPE, text=True)


async def test_an_entry_survives_a_kill_right_after_it_was_put(path: Path, opened: Open) -> None:
    with writing(path, "killed", 1) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "put\n"
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert await opened().get("killed-0") == answer()


async def test_two_processes_write_at_once(path: Path, opened: Open) -> None:
    with writing(path, "a", 100) as one, writing(path, "b", 100) as other:
        assert await asyncio.to_thread(one.wait, 120) == 0
        assert await asyncio.to_thread(other.wait, 120) == 0
    journal = opened()
    assert all([await journal.get(f"{name}-{number}") for name in "ab" for number in range(100)])


async def test_entries_go_when_they_are_old(opened: Open) -> None:
    await opened().put("k", answer())
    assert await opened(max_age=60).get("k") == answer()
    assert await opened(max_age=-1).get("k") is None


async def test_the_oldest_go_when_they_are_too_many(opened: Open) -> None:
    journal = opened()
    for number in range(10):
        await journal.put(f"k{number}", answer("x" * 10_000))
    pruned = opened(max_bytes=35_000)
    kept = [number for number in range(10) if await pruned.get(f"k{number}")]
    assert kept == [7, 8, 9]


async def test_nobody_else_may_read_it(path: Path, opened: Open) -> None:
    await opened().put("k", answer())
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.glob(f"{path.name}*")}
    assert modes == {path.name: 0o600, f"{path.name}-wal": 0o600, f"{path.name}-shm": 0o600}


async def test_it_is_encrypted_when_payloads_are(path: Path, opened: Open) -> None:
    await opened().put("plain", answer())
    assert SECRET.encode() in beside(path)
    for file in path.parent.iterdir():
        file.unlink()
    secret = opened(replace(data_converter(path.parent), payload_codec=Xor()))
    await secret.put("k", answer())
    assert SECRET.encode() not in beside(path)
    assert await secret.get("k") == answer()


# -- what ails it ---------------------------------------------------------------------------------------------


async def test_an_entry_written_with_another_key_is_no_entry(path: Path, opened: Open) -> None:
    await opened(replace(data_converter(path.parent), payload_codec=Xor(1))).put("k", answer())
    assert await opened(replace(data_converter(path.parent), payload_codec=Xor(2))).get("k") is None


@pytest.mark.parametrize("damage", [b"\xff\xff not a payload", b"", Payload(data=b"{}").SerializeToString()])
async def test_a_damaged_entry_is_no_entry(damage: bytes, path: Path, opened: Open) -> None:
    journal = opened()
    await journal.put("bad", answer())
    await journal.put("good", answer())
    with sqlite3.connect(path) as db:
        db.execute("UPDATE answers SET reply = ? WHERE key = 'bad'", (damage,))
    db.close()
    assert await journal.get("bad") is None
    assert await journal.get("good") == answer()


async def test_a_file_that_is_no_database_is_moved_aside(path: Path, opened: Open) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is no database" * 1000)
    journal = opened()
    await journal.put("k", answer())
    assert await opened().get("k") == answer()
    [aside] = path.parent.glob(f"{path.name}.damaged-*")
    assert aside.read_bytes().startswith(b"this is no database")


async def test_a_file_damaged_in_the_middle_is_moved_aside(path: Path, opened: Open) -> None:
    journal = opened()
    for number in range(20):
        await journal.put(f"k{number}", answer("x" * 3000))
    await journal.close()
    whole = bytearray(path.read_bytes())
    whole[4096:] = b"\xa5" * (len(whole) - 4096)
    path.write_bytes(whole)
    again = opened()
    assert await again.get("k3") is None
    await again.put("k3", answer())
    assert await again.get("k3") == answer()
    assert list(path.parent.glob(f"{path.name}.damaged-*"))


async def test_where_no_file_can_be_the_journal_is_empty(path: Path, opened: Open) -> None:
    path.parent.write_text("a file where the directory should be")
    journal = opened(data_converter())
    await journal.put("k", answer())
    assert await journal.get("k") is None
    path.parent.unlink()  # mended: it is used from now on
    await journal.put("k", answer())
    assert await journal.get("k") == answer()


async def test_what_cannot_be_encoded_does_not_fail_the_call(path: Path, opened: Open) -> None:
    class Broken(Xor):
        async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
            raise RuntimeError("the key server is away")

    journal = opened(replace(data_converter(path.parent), payload_codec=Broken()))
    await journal.put("k", answer())
    assert await journal.get("k") is None
