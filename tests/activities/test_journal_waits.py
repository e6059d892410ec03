"""A journal that another worker of the host holds: an answer waits for its own entry, and nothing else waits."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from activities import journal as journals
from activities.journal import Journal
from interlock.converter import data_converter
from tests.activities.test_journal import answer


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    """One whose file is there."""
    journal = Journal(tmp_path / "journal.db", data_converter(tmp_path))
    await journal.put("first", answer())
    yield journal
    await journal.close()


@contextmanager
def held(tmp_path: Path) -> Iterator[None]:
    """By somebody who writes: nobody else can, until the block ends."""
    other = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


@asynccontextmanager
async def moving() -> AsyncIterator[None]:
    """The loop does not stand still for as long as who waits for the file."""
    longest, before = 0.0, time.monotonic()

    async def beat() -> None:
        nonlocal longest, before
        while True:
            await asyncio.sleep(0.01)
            longest, before = max(longest, time.monotonic() - before), time.monotonic()

    beating = asyncio.create_task(beat())
    yield
    await asyncio.sleep(0.02)
    beating.cancel()
    assert longest < 10


async def kept(tmp_path: Path, key: str) -> bool:
    reader = Journal(tmp_path / "journal.db", data_converter(tmp_path))
    try:
        return await reader.get(key) is not None
    finally:
        await reader.close()


async def test_an_answer_waits_for_its_entry_and_the_worker_does_not(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "PATIENCE", 30.0)
    async with moving():
        with held(tmp_path):
            putting = asyncio.create_task(journal.put("k", answer()))
            starting = Journal(tmp_path / "journal.db", data_converter(tmp_path))
            await asyncio.sleep(2)
            assert not putting.done()
        await putting
        assert await starting.get("k") == answer()
        await starting.close()


async def test_answers_that_wait_together_give_up_together_and_the_next_are_kept(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "PATIENCE", 0.5)
    with held(tmp_path):
        began = time.monotonic()
        await asyncio.gather(*(journal.put(f"k{number}", answer()) for number in range(10)))
        assert time.monotonic() - began < 4.5  # one after the other they would take five
    await journal.put("next", answer())
    assert await journal.get("k9") is None
    assert await journal.get("next") == answer()


async def test_an_answer_does_not_wait_for_what_is_too_old_to_go(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "PRUNE_EVERY", 1)
    gone = threading.Event()
    monkeypatch.setattr(journal, "_prune", gone.wait)
    await journal.put("k", answer())
    getting = asyncio.create_task(journal.get("k"))
    await asyncio.sleep(0.1)
    assert not getting.done()
    gone.set()
    assert await getting == answer()


@pytest.mark.parametrize("broken_off", [False, True])
async def test_what_is_under_way_is_kept_before_the_journal_is_closed(
    journal: Journal, tmp_path: Path, *, broken_off: bool
) -> None:
    with held(tmp_path):
        putting = asyncio.create_task(journal.put("k1", answer()))
        next_ = asyncio.create_task(journal.put("k2", answer()))
        await asyncio.sleep(0.1)
        if broken_off:
            putting.cancel()
            next_.cancel()
        closing = asyncio.create_task(journal.close())
        await asyncio.sleep(0.1)
        assert not closing.done()
    await closing
    await asyncio.gather(putting, next_, return_exceptions=True)
    assert await kept(tmp_path, "k1")
    assert await kept(tmp_path, "k2")


async def test_a_journal_that_is_closed_is_empty_and_fails_no_call(journal: Journal, tmp_path: Path) -> None:
    await journal.close()
    await journal.close()
    await journal.put("k", answer())
    assert await journal.get("first") is None
    assert not await kept(tmp_path, "k")
