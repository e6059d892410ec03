"""The analyst's tools: what they show, and that nothing outside the log directory can be reached."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from examples.tools import logs
from interlock import ToolError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log directory with something worth stealing beside it."""
    inside = tmp_path / "logs"
    inside.mkdir()
    (tmp_path / "secret.txt").write_text("ERROR secret\n")
    (tmp_path / "logs-of-others").mkdir()
    (tmp_path / "logs-of-others" / "a.log").write_text("ERROR secret\n")
    monkeypatch.setenv("INTERLOCK_DEMO_DIR", str(inside))
    return inside


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "a/../../secret.txt",
        "../logs-of-others/a.log",
        "/etc/passwd",
        "link.txt",
        "linked/secret.txt",
        "..",
        "no-such-file",
        "zero\0byte",
        "x" * 5000,
        "loop",
    ],
)
async def test_nothing_outside_can_be_named(root: Path, path: str) -> None:
    (root / "link.txt").symlink_to(root.parent / "secret.txt")
    (root / "linked").symlink_to(root.parent)
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(ToolError):
        logs.read(path)
    with pytest.raises(ToolError):
        await logs.search("secret", path)


async def test_links_that_lead_outside_are_neither_listed_nor_searched(root: Path) -> None:
    (root / "a.log").write_text("ERROR own\n")
    (root / "link.txt").symlink_to(root.parent / "secret.txt")
    (root / "linked").symlink_to(root.parent)
    assert [file.path for file in logs.list_files().files] == ["a.log"]
    assert await logs.search("ERROR") == "1 matching lines in 1 of 1 files: a.log 1\na.log:1: ERROR own"


async def test_a_search_shows_the_first_and_the_last_of_very_many(root: Path) -> None:
    (root / "a.log").write_text("".join(f"line {number} ERROR\n" for number in range(1, 1001)))
    told = (await logs.search("ERROR", "a.log")).split("\n")
    assert told[0] == "1000 matching lines in 1 of 1 files: a.log 1000"
    assert told[1] == "a.log:1: line 1 ERROR"
    assert told[61] == "[880 matching lines in between are not shown]"
    assert told[-1] == "a.log:1000: line 1000 ERROR"


async def test_a_pattern_that_takes_for_ever_is_stopped(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "SEARCH_SECONDS", 0.5)
    (root / "a.log").write_text("a" * 60 + "!\n")
    began = time.monotonic()
    with pytest.raises(ToolError, match="took more than"):
        await logs.search("(a+)+$")
    assert time.monotonic() - began < 25


@pytest.mark.parametrize("pattern", ["(", "[", "*"])
async def test_what_is_no_regular_expression_is_said_so(root: Path, pattern: str) -> None:
    with pytest.raises(ToolError, match="is not a regular expression"):
        await logs.search(pattern)


async def test_odd_files(root: Path) -> None:
    (root / "binary.log").write_bytes(b"ERROR\0\1\2")
    (root / "empty.log").write_bytes(b"")
    (root / "latin.log").write_bytes(b"ERROR caf\xe9\r\n")
    (root / "one line.log").write_text("ERROR " + "x" * 100_000)
    (root / "two\nlines: 1: a.log").write_text("ERROR here\n")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "a.log").write_text("ERROR hidden\n")
    os.mkfifo(root / "pipe.log")
    listed = logs.list_files()
    assert {file.path: file.text for file in listed.files} == {
        "binary.log": False,
        "empty.log": True,
        "latin.log": True,
        "one line.log": True,
        "two\nlines: 1: a.log": True,
    }
    told = (await logs.search("ERROR")).split("\n")
    assert told[1] == "latin.log:1: ERROR caf�"
    assert told[2].startswith("one line.log:1: ERROR xxx")
    assert told[2].endswith("…")
    assert told[3] == r"two\nlines: 1: a.log:1: ERROR here"
    assert logs.read("two\nlines: 1: a.log") == r"two\nlines: 1: a.log:1: ERROR here"
    assert logs.read("empty.log") == "empty.log has no line 1"
    for path, why in (("binary.log", "is not text"), ("pipe.log", "is not a file"), (".", "is not a file")):
        with pytest.raises(ToolError, match=why):
            logs.read(path)


def test_reading_a_part(root: Path) -> None:
    (root / "a.log").write_text("".join(f"{number}\n" for number in range(1, 1001)))
    assert logs.read("a.log", start=3, lines=2) == "a.log:3: 3\na.log:4: 4"
    assert logs.read("a.log", start=-5, lines=0) == "a.log:1: 1"
    assert len(logs.read("a.log", lines=10_000).split("\n")) == logs.MOST_LINES
    assert logs.read("a.log", start=2000) == "a.log has no line 2000"


def test_a_directory_that_is_gone_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_DEMO_DIR", str(root / "gone"))
    with pytest.raises(ToolError, match="there is no log directory"):
        logs.list_files()
