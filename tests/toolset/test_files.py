"""The files tools: what they show and write, and that nothing outside their directory can be reached."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from examples.tools import files as module
from examples.tools.files import files
from interlock import Tool, ToolError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with something worth stealing beside it, and every kind of way there."""
    inside = tmp_path / "root"
    (inside / "sub").mkdir(parents=True)
    (inside / "a.txt").write_text("one\ntwo\nthree\n")
    (inside / "sub" / "b.txt").write_text("b\n")
    (tmp_path / "secret.txt").write_text("secret\n")
    (tmp_path / "root-of-others").mkdir()
    (inside / "link.txt").symlink_to(tmp_path / "secret.txt")
    (inside / "own.txt").symlink_to(inside / "a.txt")
    (inside / "linked").symlink_to(tmp_path)
    (inside / "loop").symlink_to(inside / "loop")
    os.mkfifo(inside / "pipe")
    return inside


def tools(root: Path, **options: Any) -> dict[str, Tool]:
    return {tool.name: tool for tool in files(root, writable=True, **options)}


ESCAPES = [
    *("../secret.txt", "sub/../../secret.txt", "sub/..", "..", "/etc/passwd", "~/.ssh/id", "//etc/passwd"),
    *("link.txt", "own.txt", "linked/secret.txt", "loop", "loop/x", "linked", "pipe", "a.txt/x", "sub", "", ".", "/"),
    *("zero\0byte", "line\nbreak", "..\\secret.txt", "sub\\b.txt", "a\u202etxt", "x" * 300, "x/" * 3000 + "y"),
]


@pytest.mark.parametrize("path", ESCAPES, ids=lambda path: ascii(path)[:30])
@pytest.mark.parametrize("name", ["read_file", "write_file", "append_file"])
def test_nothing_outside_and_nothing_odd_can_be_named(root: Path, name: str, path: str) -> None:
    before = {each: each.read_bytes() for each in (root.parent / "secret.txt", root / "a.txt", root / "sub" / "b.txt")}
    with pytest.raises(ToolError) as refused:
        tools(root)[name](path, *([] if name == "read_file" else ["pwned"]))
    assert "secret\n" not in str(refused.value)
    assert len(str(refused.value)) < 500
    assert {each: each.read_bytes() for each in before} == before
    assert not list(root.rglob("*.partial"))


def test_a_device_and_a_socket_are_not_opened(root: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(root)  # the path of a socket has to be short
        try:
            listening.bind("sock")
        finally:
            os.chdir(here)
        with pytest.raises(ToolError, match="cannot be used"):
            tools(root)["read_file"]("sock")
    with pytest.raises(ToolError, match="is not a file"):
        tools(Path("/dev"))["read_file"]("zero")


def test_only_regular_files_are_listed(root: Path) -> None:
    listed = tools(root)["list_files"]()
    assert [(entry.path, entry.bytes) for entry in listed.files] == [("a.txt", 14), ("sub/b.txt", 2)]
    assert [entry.path for entry in tools(root)["list_files"]("sub").files] == ["sub/b.txt"]
    for path in ("linked", "..", "a.txt", "none"):
        with pytest.raises(ToolError):
            tools(root)["list_files"](path)


def test_a_directory_that_becomes_a_link_meanwhile_leads_nowhere(root: Path) -> None:
    """Whoever can write below the root swaps a directory for a link to outside, as fast as it can."""
    (root.parent / "outside").mkdir()
    (root.parent / "outside" / "b.txt").write_text("secret\n")
    link, real, here = root / "swap-link", root / "swap-real", root / "swap"
    link.symlink_to(root.parent / "outside")
    real.mkdir()
    (real / "b.txt").write_text("own\n")
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            for way in (real, link):
                try:
                    way.rename(here)
                except OSError:  # a tool has made the directory that was missing
                    shutil.rmtree(here, ignore_errors=True)
                else:
                    here.rename(way)

    swapping = threading.Thread(target=swap)
    swapping.start()
    reading, writing = tools(root)["read_file"], tools(root)["append_file"]
    seen, refused = set(), 0
    try:
        for _ in range(3000):
            try:
                seen.add(reading("swap/b.txt"))
                writing("swap/new.txt", "x")
            except ToolError:
                refused += 1
    finally:
        done.set()
        swapping.join()
    assert seen <= {"own"}
    assert refused > 0
    assert [each.name for each in (root.parent / "outside").iterdir()] == ["b.txt"]


def test_reading_a_part_of_a_file_of_any_size(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = tools(root)["read_file"]
    assert read("a.txt") == "one\ntwo\nthree"
    assert read("./sub//b.txt") == "b"
    assert read("a.txt", start=2, lines=1) == "two"
    assert read("a.txt", start=9) == "[a.txt has no line 9]"
    (root / "binary").write_bytes(b"\x7fELF\0")
    (root / "latin").write_bytes(b"caf\xe9\r\n")
    (root / "endless").write_text("x" * 3_000_000)
    (root / "long").write_text("line\n" * 200_000)
    with pytest.raises(ToolError, match="is not text"):
        read("binary")
    assert read("latin") == "caf�"
    assert len(read("endless")) == 1001
    assert len(read("long", lines=10_000).split("\n")) == module.MOST_LINES
    monkeypatch.setattr(module, "READ_SECONDS", 0.0)
    with pytest.raises(ToolError, match="too long to be read that far"):
        read("long", start=199_000)


def test_writing_makes_directories_and_replaces_the_whole_file(root: Path) -> None:
    made = tools(root)
    assert made["write_file"]("new/deep/c.txt", "é\n") == "wrote 3 bytes to new/deep/c.txt"
    assert made["write_file"]("new/deep/c.txt", "again") == "wrote 5 bytes to new/deep/c.txt"
    assert made["append_file"]("new/deep/c.txt", " and more") == "added 9 bytes to new/deep/c.txt"
    assert (root / "new/deep/c.txt").read_text() == "again and more"
    with pytest.raises(ToolError, match="bytes are too many"):
        made["write_file"]("big", "x" * (module.MOST_WRITTEN + 1))
    with pytest.raises(ToolError, match="directories deep"):
        made["write_file"]("/".join("d" * 20), "x")
    assert not list(root.rglob("*.partial"))


def test_a_file_with_a_second_name_is_not_appended_to(root: Path) -> None:
    os.link(root.parent / "secret.txt", root / "hard.txt")
    with pytest.raises(ToolError, match="more than one name"):
        tools(root)["append_file"]("hard.txt", "x")
    tools(root)["write_file"]("hard.txt", "mine")  # a new file under this name; the other name keeps the old one
    assert (root.parent / "secret.txt").read_text() == "secret\n"


def test_a_root_that_is_not_there_is_said_when_the_agent_is_made(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="is not a directory"):
        files(tmp_path / "none")


def test_what_a_tool_may_do_is_declared(root: Path) -> None:
    assert {tool.name: tool.effect for tool in files(root)} == {"list_files": "read", "read_file": "read"}
    assert {tool.name: tool.effect for tool in files(root, writable=True, prefix="notes_")} == {
        "notes_list_files": "read",
        "notes_read_file": "read",
        "notes_write_file": "idempotent",
        "notes_append_file": "write",
    }
