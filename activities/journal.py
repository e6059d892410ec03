"""Answers that were paid for, kept until they are surely reported: a small SQLite file on the worker's host.

A worker that dies, or that cannot reach the server for longer than the SDK retries, loses its report and not the
answer: the next attempt takes it from here instead of buying it again. It is an economy, never the truth: without
it an answer is bought twice and both are charged. So nothing that is wrong with it may fail a call.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import structlog
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter

from interlock.contracts import ModelReply
from interlock.tombstones import KeptContext

log = structlog.get_logger("interlock.journal")

T = TypeVar("T")

MAX_AGE = 86_400.0
MAX_BYTES = 256 * 1024 * 1024
PRUNE_EVERY = 500

PATIENCE = 5.0
"""Seconds that an answer waits for its entry: another worker of this host may hold the file for longer."""

_FIND = "SELECT reply FROM answers WHERE key = ?"
_TOO_OLD = "DELETE FROM answers WHERE at < ?"
_TOO_MANY = (
    "DELETE FROM answers WHERE key IN (SELECT key FROM (SELECT key, SUM(LENGTH(reply)) "
    "OVER (ORDER BY at DESC, rowid DESC) AS newer FROM answers) WHERE newer > ?)"
)


class Journal:
    """``put`` before reporting, ``get`` before asking again. Entries go after a day, or when they are too many.

    What is written passes through the data converter's codec, so it is encrypted when payloads are. A journal that
    cannot be read is as good as empty; a file that is damaged is moved aside and begun anew. All use of the file is on
    one thread of its own: a file that others hold makes wait who waits for an entry, and not the worker."""

    def __init__(self, path: Path, converter: DataConverter, *, max_age: float = MAX_AGE, max_bytes: int = MAX_BYTES):
        self._path, self._converter, self._max_age, self._max_bytes = path, converter, max_age, max_bytes
        self._db: sqlite3.Connection | None = None
        self._writes = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._begin(self._prune)

    async def put(self, key: str, reply: ModelReply) -> None:
        try:
            [payload] = await self._bound(key).encode([reply])
        except Exception:
            log.exception("journal.not_written", key=key)
            return
        row, until = (key, time.time(), payload.SerializeToString()), time.monotonic() + PATIENCE
        if (begun := self._begin(lambda: self._put(row, until))) is not None:
            await _whole(begun)
        self._writes += 1
        if self._writes % PRUNE_EVERY == 0:
            self._begin(self._prune)  # the answer does not wait for it

    async def get(self, key: str) -> ModelReply | None:
        row = await self._on_thread(lambda: self._tried(lambda db: db.execute(_FIND, (key,)).fetchone()))
        if row is None:
            return None
        try:
            [reply] = await self._bound(key).decode([Payload.FromString(row[0])], [ModelReply])
        except Exception:  # written with another key, by another release, or damaged: the answer is bought again
            log.exception("journal.not_read", key=key)
            return None
        return reply if isinstance(reply, ModelReply) else None

    async def close(self) -> None:
        """Once what is under way is done. Nothing is begun any more."""
        self._begin(self._close)
        self._thread.shutdown(wait=False)
        await asyncio.to_thread(self._thread.shutdown)

    def _bound(self, key: str) -> DataConverter:
        """The converter for one entry: an encrypted answer is read under its own key only."""
        return self._converter.with_context(KeptContext(f"journal/{key}"))

    async def _on_thread(self, use: Callable[[], T]) -> T | None:
        """What ``use`` returns; ``None`` when the journal is closed. It is done even if whoever waits is cancelled."""
        if (begun := self._begin(use)) is None:
            return None
        return await asyncio.shield(asyncio.wrap_future(begun))

    def _begin(self, use: Callable[[], T]) -> Future[T] | None:
        context = contextvars.copy_context()  # its log lines say whose they are
        try:
            return self._thread.submit(context.run, use)
        except RuntimeError:  # it is closed
            return None

    # -- on the thread ----------------------------------------------------------------------------------------

    def _put(self, row: tuple[str, float, bytes], until: float) -> None:
        """However many wait while others hold the file, none waits for them longer than its own patience."""
        left = max(0.0, until - time.monotonic())
        self._tried(lambda db: db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", row), left)

    def _prune(self) -> None:
        """Drop what is too old, then the oldest until the rest is small enough."""
        self._tried(lambda db: db.execute(_TOO_OLD, (time.time() - self._max_age,)))
        self._tried(lambda db: db.execute(_TOO_MANY, (self._max_bytes,)))

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _tried(self, use: Callable[[sqlite3.Connection], T], seconds: float = PATIENCE) -> T | None:
        """What ``use`` returns; ``None`` when the file cannot be used. A damaged one is replaced, and tried again."""
        try:
            try:
                return use(self._opened(seconds))
            except sqlite3.DatabaseError as error:
                if not _damaged(error):
                    raise
                log.warning("journal.damaged", path=str(self._path), error=str(error))
                self._close()
                _move_aside(self._path)
                return use(self._opened(seconds))
        except (sqlite3.Error, OSError) as error:
            log.warning("journal.unusable", path=str(self._path), error=str(error))
            self._close()  # opened again next time: a full disk does not stay full
            return None

    def _opened(self, seconds: float) -> sqlite3.Connection:
        if self._db is None:
            self._db = _open(self._path, seconds)
        self._db.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
        return self._db


async def _whole(begun: Future[None]) -> None:
    """Wait for an entry, through a cancellation as well: an answer that was paid for is reported, and not cut off in
    the moment that it takes to write it down. Its run makes nothing of it."""
    written, task = asyncio.wrap_future(begun), asyncio.current_task()
    while not written.done():
        try:
            await asyncio.shield(written)
        except asyncio.CancelledError:
            if task is not None:
                task.uncancel()


def _open(path: Path, seconds: float) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)  # before SQLite makes it: the log beside it gets the mode of the file
    path.chmod(0o600)
    # Autocommit, write-ahead log, no flush to the disk for each entry: an entry survives the process that
    # wrote it, which is what it is for; a power cut may take the last ones.
    db = sqlite3.connect(path, isolation_level=None, timeout=seconds)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, at REAL NOT NULL, reply BLOB NOT NULL)")
        db.execute("CREATE INDEX IF NOT EXISTS answers_at ON answers (at)")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _damaged(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", None)  # not every error has one
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _move_aside(path: Path) -> None:
    """With its logs: the next file of that name must not take them for its own."""
    for suffix in ("", "-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.replace(path.with_name(f"{path.name}.damaged-{os.getpid()}{suffix}"))


def journal_path() -> Path:
    """``INTERLOCK_JOURNAL``, or ``.interlock/journal.db``. Workers of one host share it."""
    return Path(os.environ.get("INTERLOCK_JOURNAL") or ".interlock/journal.db")
