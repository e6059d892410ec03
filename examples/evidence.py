"""What the tools told the offline model, read back from the conversation; and simple rules for log lines."""

from __future__ import annotations

import calendar
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from examples.tools.logs import shown
from interlock.contracts import AssistantMessage, Message, ToolMessage, UserMessage

PROBLEMS = r'(?i)warn|err|fail|fatal|panic|exception|refused|timed out|" 5'
"""Lines worth a look. Which of them are errors is decided by ``severity``."""

_LEVEL = re.compile(
    r"\b(TRACE|DEBUG|INFO|NOTICE|LOG|WARN|WARNING|ERROR|ERR|FATAL|PANIC|CRIT|CRITICAL|SEVERE|ALERT|EMERG)\b"
    r'|\blevel"?\s*[=:]\s*"?([A-Za-z]+)'
)
_QUIET = {"TRACE", "DEBUG", "INFO", "NOTICE", "LOG"}
_BAD = re.compile(
    r"(?i)\b(err(or)?|fatal|panic|fail(ed|ure)?|refused)\b"
    r'|\berror:|exception|timed out|" 5\d\d '
)
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d| UTC)?")
_ACCESS_TIME = re.compile(r"\[(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d:\d\d:\d\d)[^\]]*\]")
_MONTHS = {name: number for number, name in enumerate(calendar.month_abbr)}
_ACCESS = re.compile(r'"([A-Z]+ \S+)[^"]*" (\d{3}) ')


@dataclass(frozen=True)
class Line:
    """A line of a file, as a tool showed it."""

    path: str
    number: int
    text: str

    @property
    def severity(self) -> str:
        """``error``, ``warning`` or nothing. A line that says it is INFO is one, whatever words it has."""
        level = _LEVEL.search(self.text[:200])
        name = (level.group(1) or level.group(2) or "").upper() if level else ""
        if name in _QUIET:
            return ""
        if name.startswith("WARN"):
            return "warning"
        return "error" if _BAD.search(self.text) else ""

    @property
    def when(self) -> datetime | None:
        """The time it says it is from, without its zone: files of one incident are taken to agree on that."""
        try:
            if iso := _ISO.search(self.text[:200]):
                return datetime.fromisoformat(f"{iso.group(1)} {iso.group(2)}")
            if access := _ACCESS_TIME.search(self.text[:200]):
                day, month, year, time = access.groups()
                return datetime.fromisoformat(f"{year}-{_MONTHS.get(month, 0):02}-{day} {time}")
        except ValueError:
            pass
        return None

    @property
    def kind(self) -> str:
        """The line without what differs from one occurrence to the next: times, ids and numbers."""
        if access := _ACCESS.search(self.text):
            return f"{re.sub(r'[0-9]+', '#', access.group(1))} answered {access.group(2)}"
        text = _ISO.sub("", self.text)
        text = re.sub(r"\b(?=[0-9a-f-]*[0-9])[0-9a-f]{6,}(-[0-9a-f]+)*\b", "#", text)
        return " ".join(re.sub(r"[0-9]+", "#", text).split())[:200]

    @property
    def place(self) -> str:
        return f"{shown(self.path)}:{self.number}"


def in_order(line: Line) -> tuple[bool, str, str, int]:
    """By time; lines without one come last, by file."""
    return (line.when is None, str(line.when), line.path, line.number)


@dataclass
class Evidence:
    """A conversation so far: what was asked, which calls were made, and what they showed."""

    questions: list[str] = field(default_factory=list)
    made: set[tuple[str, str]] = field(default_factory=set)
    files: list[str] | None = None
    unreadable: list[str] = field(default_factory=list)
    problems: list[Line] = field(default_factory=list)
    mentions: dict[str, str] = field(default_factory=dict)
    mentioned: list[Line] = field(default_factory=list)
    read: list[Line] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    cut: bool = False


def gather(messages: Sequence[Message]) -> Evidence:
    """The evidence in a conversation. It never raises: what cannot be read is passed over."""
    found = Evidence()
    asked: dict[str, tuple[str, str]] = {}
    for message in messages:
        match message:
            case UserMessage():
                found.questions.append(message.text)
            case AssistantMessage():
                asked.update({call.call_id: (call.tool, call.arguments) for call in message.calls})
                found.made.update((call.tool, call.arguments) for call in message.calls)
            case ToolMessage(is_error=True):
                found.complaints.append(f"{message.tool}: {message.content}")
                found.files = found.files if message.tool != "list_files" else found.files or []
            case ToolMessage() if message.call_id in asked:
                _take(found, *asked[message.call_id], message.content)
    found.problems = sorted(set(found.problems), key=in_order)
    return found


def _take(found: Evidence, tool: str, arguments: str, content: str) -> None:
    given = _object(arguments)
    if tool == "list_files":
        listed = [each for each in _object(content).get("files", []) if isinstance(each, dict)]
        found.files = [str(each["path"]) for each in listed if each.get("text")]
        found.unreadable = [str(each["path"]) for each in listed if not each.get("text")]
        return
    lines = _lines(content, found.files or [])
    if tool == "read":
        found.read += lines
    elif given.get("pattern") == PROBLEMS:
        found.problems += [line for line in lines if line.severity]
        found.cut = found.cut or "are not shown]" in content
    else:
        found.mentions[str(given.get("pattern"))] = content.partition("\n")[0]
        found.mentioned += lines


def _lines(content: str, files: Sequence[str]) -> list[Line]:
    """``path:line: text`` for the paths there are: a path may hold colons and numbers itself."""
    found: list[Line] = []
    longest_first = sorted(files, key=len, reverse=True)
    for text in content.split("\n"):
        path = next((name for name in longest_first if text.startswith(f"{shown(name)}:")), None)
        if path is not None and (rest := re.match(r":(\d+): (.*)", text[len(shown(path)) :])):
            found.append(Line(path, int(rest.group(1)), rest.group(2)))
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
