"""Searches files for a regular expression. A program of its own, standard library only, run by ``logs.search``.

A regular expression can take for ever (``(a+)+$``), and Python holds every thread of a process while it matches:
in the worker it would stop heartbeats and cancellation with it. A process can be ended.

    stdin   {"pattern": str, "files": [[name, path], ...], "limit": int}
    stdout  {"counts": [[name, matching lines], ...], "hits": [[name, line number, text], ...], "left_out": int}
"""

from __future__ import annotations

import json
import re
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

LINE = 1000
"""Characters of a line that are looked at and shown. There are logs of one endless line."""


def lines(path: Path, most: int = LINE) -> Iterator[str]:
    """The lines of a file, each cut to ``most`` characters; memory stays bounded whatever the file is."""
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        yield from cut(file, most)


def cut(file: TextIO, most: int = LINE) -> Iterator[str]:
    """The lines of a file that is open, each cut to ``most`` characters."""
    while text := file.readline(most + 1):
        whole = text.endswith("\n")
        yield text.rstrip("\r\n") if whole or len(text) <= most else f"{text[:most]}…"
        while not whole and (rest := file.readline(1 << 16)):
            whole = rest.endswith("\n")


def scan(pattern: str, files: list[tuple[str, str]], limit: int) -> dict[str, Any]:
    """The first and the last matching lines, half of ``limit`` each, and how many there are in each file."""
    wanted = re.compile(pattern)
    first: list[tuple[str, int, str]] = []
    last: deque[tuple[str, int, str]] = deque(maxlen=limit - limit // 2)
    counts: list[tuple[str, int]] = []
    for name, path in files:
        found = 0
        try:
            for number, text in enumerate(lines(Path(path)), start=1):
                if wanted.search(text):
                    found += 1
                    (first if len(first) < limit // 2 else last).append((name, number, text))
        except OSError:  # it may be gone, or not ours to read: the others are worth searching
            pass
        counts.append((name, found))
    hits = [*first, *last]
    return {"counts": counts, "hits": hits, "left_out": sum(count for _, count in counts) - len(hits)}


if __name__ == "__main__":
    asked = json.load(sys.stdin.buffer)
    json.dump(scan(asked["pattern"], asked["files"], asked["limit"]), sys.stdout)
