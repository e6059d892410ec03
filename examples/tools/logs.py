"""Read tools over the text files below one directory: list, search, read. Nothing outside it can be reached.

The directory is the worker's to choose, by ``INTERLOCK_DEMO_DIR``; the model names paths below it only.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel

from examples.tools import scan
from interlock import ToolError, tool

MOST_FILES = 200
MOST_HITS = 120
MOST_LINES = 400
SEARCH_SECONDS = 15.0
_SKIPPED = {"node_modules", "__pycache__"}


class LogFile(BaseModel):
    path: str
    bytes: int
    text: bool


class Listing(BaseModel):
    files: list[LogFile]
    left_out: int


def root() -> Path:
    """The directory that holds the logs. Raises ``ToolError`` when there is none."""
    chosen = os.environ.get("INTERLOCK_DEMO_DIR")
    path = Path(chosen) if chosen else Path(__file__).parent.parent / "data"
    if not path.is_dir():
        raise ToolError(f"there is no log directory {path}; INTERLOCK_DEMO_DIR in the worker's environment names it")
    return path.resolve()


def inside(path: str) -> Path:
    """The file or directory that a model named. Raises ``ToolError`` when it is not below the root."""
    top = root()
    hint = "use paths as list_files gives them"
    try:
        if Path(path).is_absolute():
            raise ToolError(f"{path!r} is an absolute path; {hint}")
        found = (top / path).resolve()
        if not found.is_relative_to(top):
            raise ToolError(f"{path!r} is outside the log directory; {hint}")
        if not found.exists():
            raise ToolError(f"there is no {path!r} in the log directory; {hint}")
    except (OSError, RuntimeError, ValueError) as error:  # too long, a zero byte, a loop of links, no permission
        raise ToolError(f"{path!r} is not a usable path ({error}); {hint}") from error
    return found


def is_text(path: Path) -> bool:
    with path.open("rb") as file:
        return b"\0" not in file.read(8192)


@tool(effect="read")
def list_files() -> Listing:
    """List the files in the log directory: path, size in bytes, and whether each is text, which can be read."""
    found: list[LogFile] = []
    left_out = 0
    for name, path in _walk(root()):
        if len(found) == MOST_FILES:
            left_out += 1
            continue
        try:
            found.append(LogFile(path=name, bytes=path.stat().st_size, text=is_text(path)))
        except OSError:
            left_out += 1
    return Listing(files=found, left_out=left_out)


@tool(effect="read")
async def search(
    pattern: Annotated[str, "a Python regular expression; (?i) at its start ignores case"],
    path: Annotated[str, "a file or a directory, as list_files names it"] = ".",
) -> str:
    """Search log files for lines that match a regular expression. Gives how many match in each file, and the
    lines as path:line: text; of very many, the first and the last."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ToolError(f"{pattern!r} is not a regular expression: {error}") from error
    found = await _scan(pattern, _searchable(path))
    counts = {name: count for name, count in found["counts"] if count}
    total = sum(counts.values())
    if not total:
        return f"0 matching lines in {len(found['counts'])} files"
    listed = ", ".join(f"{shown(name)} {count}" for name, count in counts.items())
    out = [f"{total} matching lines in {len(counts)} of {len(found['counts'])} files: {listed}"]
    for number, (name, line, text) in enumerate(found["hits"]):
        if found["left_out"] and number == MOST_HITS // 2:
            out.append(f"[{found['left_out']} matching lines in between are not shown]")
        out.append(f"{shown(name)}:{line}: {text}")
    return "\n".join(out)


@tool(effect="read")
def read(
    path: Annotated[str, "a file, as list_files names it"],
    start: Annotated[int, "the first line to read, from 1"] = 1,
    lines: Annotated[int, f"how many lines, {MOST_LINES} at most"] = 200,
) -> str:
    """Read lines of one log file, each as path:line: text."""
    file = inside(path)
    if not file.is_file():
        raise ToolError(f"{path!r} is not a file; list_files gives the files there are")
    first, most = max(1, start), min(max(1, lines), MOST_LINES)
    try:
        if not is_text(file):
            raise ToolError(f"{path!r} is not text and cannot be read")
        taken = list(islice(enumerate(scan.lines(file), start=1), first - 1, first - 1 + most))
    except OSError as error:
        raise ToolError(f"{path!r} cannot be read: {error.strerror}") from error
    if not taken:
        return f"{shown(path)} has no line {first}"
    return "\n".join(f"{shown(path)}:{number}: {text}" for number, text in taken)


def _walk(top: Path) -> Iterator[tuple[str, Path]]:
    """Regular files below ``top`` by their relative names, in order. Links are followed only to what is inside."""
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED)
        for name in sorted(names):
            path = Path(folder, name)
            shown = path.relative_to(top).as_posix()
            try:
                shown.encode()  # a name that is no text can be neither shown nor asked for
                if path.is_file() and path.resolve().is_relative_to(top):
                    yield shown, path
            except (OSError, RuntimeError, ValueError):
                continue


def _searchable(path: str) -> list[tuple[str, str]]:
    chosen, top = inside(path), root()
    files = [(path, chosen)] if chosen.is_file() else list(islice(_walk(chosen), MOST_FILES))
    if chosen.is_dir():
        files = [(file.relative_to(top).as_posix(), file) for _, file in files if file.resolve().is_relative_to(top)]
    found: list[tuple[str, str]] = []
    for name, file in files:
        try:
            if is_text(file):
                found.append((name, str(file)))
        except OSError:
            continue
    return found


async def _scan(pattern: str, files: list[tuple[str, str]]) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", scan.__file__),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    asked = json.dumps({"pattern": pattern, "files": files, "limit": MOST_HITS}).encode()
    try:
        async with asyncio.timeout(SEARCH_SECONDS):
            said, complaint = await process.communicate(asked)
    except TimeoutError:
        raise ToolError(
            f"the search took more than {SEARCH_SECONDS:g} s and was stopped; use a simpler pattern or one file"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        last = complaint.decode(errors="replace").strip().splitlines()[-1:]
        raise ToolError(f"the search failed: {' '.join(last)}")
    result: dict[str, Any] = json.loads(said)
    return result


def shown(name: str) -> str:
    """A name on one line: there are files with a line break in theirs."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in name)
