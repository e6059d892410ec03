"""The SQLite tools: what they answer, and that nothing makes them change, reach or wait for anything else."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from examples.tools import sqlite as module
from examples.tools.sqlite import Answer, sqlite
from interlock import ToolError


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    """A database; nothing that is asked of it may change it, or leave a file beside it."""
    path = tmp_path / "shop ?#.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            "CREATE TABLE goods (name TEXT, cents INTEGER, picture BLOB);"
            "INSERT INTO goods VALUES ('tea', 450, x'00ff'), ('cup', 1200, NULL);"
            "CREATE VIEW dear AS SELECT name FROM goods WHERE cents > 1000;"
            "CREATE VIEW harm AS SELECT load_extension('x') AS y;"
            "CREATE TABLE many AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000) "
            "SELECT i FROM n"
        )
    before = hashlib.sha256(path.read_bytes()).digest()
    yield path
    assert hashlib.sha256(path.read_bytes()).digest() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def query(path: Path, sql: str, parameters: list[Any] | None = None, **options: Any) -> Answer:
    tools = {tool.name: tool for tool in sqlite(path, **options)}
    answer: Answer = tools["query"](sql, parameters)
    return answer


def test_what_is_there_and_what_it_says(shop: Path) -> None:
    tables, ask = sqlite(shop)
    assert [row[:2] for row in tables().rows] == [
        ["view", "dear"],
        ["table", "goods"],
        ["view", "harm"],
        ["table", "many"],
    ]
    assert tables().rows[1][2] == "CREATE TABLE goods (name TEXT, cents INTEGER, picture BLOB)"
    answer = ask("SELECT * FROM goods WHERE cents < ?", [1000])
    assert (answer.columns, answer.rows) == (["name", "cents", "picture"], [["tea", 450, "[2 bytes of binary data]"]])
    assert ask("SELECT upper(name), 9e999 FROM dear").rows == [["CUP", "inf"]]
    assert (tables.effect, ask.effect) == ("read", "read")


ONLY_SELECT = "only SELECT"
REFUSED = [
    ("INSERT INTO goods VALUES ('x', 1, NULL)", ONLY_SELECT),
    ("UPDATE goods SET cents = 0", ONLY_SELECT),
    ("DELETE FROM goods", ONLY_SELECT),
    ("DROP TABLE goods", ONLY_SELECT),
    ("CREATE TEMP TABLE t (a)", ONLY_SELECT),
    ("WITH x AS (SELECT 1) DELETE FROM goods", ONLY_SELECT),
    ("ATTACH '/tmp/other.db' AS other", ONLY_SELECT),
    ("ATTACH ':memory:' AS other", ONLY_SELECT),
    ("VACUUM INTO '/tmp/copy.db'", ONLY_SELECT),
    ("PRAGMA query_only = OFF", ONLY_SELECT),
    ("PRAGMA writable_schema = ON", ONLY_SELECT),
    ("SELECT * FROM pragma_database_list", ONLY_SELECT),
    ("BEGIN EXCLUSIVE", ONLY_SELECT),
    ("SAVEPOINT a", ONLY_SELECT),
    ("ANALYZE", ONLY_SELECT),
    ("SELECT load_extension('/tmp/evil.so')", "not authorized to use function: load_extension"),
    ("SELECT LOAD_EXTENSION('/tmp/evil.so', 'x')", ONLY_SELECT),
    ("SELECT y FROM harm", "unsafe use of load_extension"),
    ("SELECT fts3_tokenizer('x')", ""),
    ("SELECT writefile('/tmp/x', 'y')", "no such function"),
    ("SELECT randomblob(1000000000)", ONLY_SELECT),
    ("SELECT 1; DELETE FROM goods", "one statement at a time"),
    ("SELECT 1; SELECT 2", "one statement at a time"),
    ("", "write one SELECT statement"),
    ("-- nothing", "write one SELECT statement"),
    ("SELEC 1", "syntax error"),
    ("SELECT \0", "null character"),
    ("SELECT '\ud800'", "surrogates not allowed"),
    ("SELECT " + "(" * 2000 + "1" + ")" * 2000, ""),
    ("SELECT '" + "x" * 60_000 + "'", "too large"),
    ("SELECT group_concat(name || hex(name)) FROM goods, many a, many b", ""),
    (" UNION ALL ".join(["SELECT 1"] * 60), "too many terms"),
    ("SELECT * FROM nowhere", "no such table: nowhere"),
]


@pytest.mark.parametrize(("sql", "said"), REFUSED, ids=[ascii(sql[:40]) for sql, _ in REFUSED])
def test_what_is_no_harmless_question_is_refused(shop: Path, sql: str, said: str) -> None:
    with pytest.raises(ToolError) as refused:
        query(shop, sql, seconds=2.0)
    assert said in str(refused.value)
    assert not list(Path("/tmp").glob("copy.db"))


@pytest.mark.parametrize("given", [[], [1, 2], [2**70]], ids=["too few", "too many", "too large"])
def test_parameters_that_do_not_fit_are_said_so(shop: Path, given: list[Any]) -> None:
    with pytest.raises(ToolError, match=r"Incorrect number of bindings|too large"):
        query(shop, "SELECT ?", given)


def test_a_query_that_runs_for_ever_is_stopped(shop: Path) -> None:
    began = time.monotonic()
    with pytest.raises(ToolError, match=r"took more than 0\.5 s"):
        query(
            shop, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n", seconds=0.5
        )
    with pytest.raises(ToolError, match=r"took more than 0\.5 s"):
        query(shop, "SELECT count(*) FROM many a, many b, many c", seconds=0.5)
    assert time.monotonic() - began < 25


def test_of_very_much_the_first_is_shown(shop: Path) -> None:
    answer = query(shop, "SELECT i FROM many")
    assert len(answer.rows) == module.MOST_ROWS
    assert answer.note == "there are more rows; the first 200 are shown"
    long = query(shop, "SELECT printf('%.*c', 20000, 'x') FROM many")
    assert 1 <= len(long.rows) < 10
    assert "would be too long" in (long.note or "")
    assert len(long.model_dump_json()) < 65_536


def test_a_file_that_is_no_database_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        sqlite(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("not a database, whatever its name says " * 100)
    with pytest.raises(ToolError, match="not a database"):
        query(tmp_path / "text.db", "SELECT 1 FROM sqlite_master")
    tools = sqlite(tmp_path / "text.db")
    (tmp_path / "text.db").unlink()
    with pytest.raises(ToolError, match="cannot be opened"):
        tools[0]()
