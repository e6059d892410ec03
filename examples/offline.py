"""The model of the demonstration where no key is set: rules instead of an LLM, and it says so.

A pure function of the conversation, as ``ScriptedModel`` wants it: an attempt that is made again, on whichever
worker, says the same. All it knows of the files is what the tools showed it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from examples.evidence import PROBLEMS, Evidence, Line, gather, in_order
from examples.offline_answer import answer
from interlock.contracts import Message
from interlock.testing import Say, ScriptedModel

MOST_FILES = 8
MOST_WORDS = 6

THINKING = 0.3
"""Seconds a turn takes, so that a person can follow it."""

_COMMON = """
about after again also before between cause caused could does down error errors fail failed file files first from going
happen happened have into just last like logs make more morning most much only over please should show some tell than
that their them then there these they this those today under very want were what when where which while will with would
wrong yesterday your
"""


@dataclass(frozen=True)
class Wanted:
    """A call of a tool. ``arguments`` is JSON text, as a model writes it."""

    tool: str
    arguments: str

    @classmethod
    def of(cls, tool: str, **arguments: str | int) -> Wanted:
        return cls(tool, json.dumps(arguments, ensure_ascii=False))


def turn(messages: Sequence[Message], tools: Sequence[str]) -> Say:
    """The next turn: look for what is still missing, all of it side by side; when nothing is, answer."""
    seen = gather(messages)
    for text, calls in (
        ("First, which files are there?", [Wanted.of("list_files")]),
        ("Where do they tell of trouble, or of what was asked?", _searches(seen)),
        ("What stands around the lines that tell most?", _readings(seen)),
    ):
        missing = [call for call in calls if call.tool in tools and (call.tool, call.arguments) not in seen.made]
        if missing:
            return Say(text=text, calls=tuple((call.tool, call.arguments) for call in missing), delay=THINKING)
    return Say(text=answer(seen, cause_of(seen.problems)), delay=THINKING)


def _searches(seen: Evidence) -> list[Wanted]:
    files = sorted(seen.files or [], key=lambda path: (_relevance(path, seen.questions), path))
    places = files[:MOST_FILES] + (["."] if len(files) > MOST_FILES else [])
    calls = [Wanted.of("search", path=place, pattern=PROBLEMS) for place in places]
    asked = [words_of(question) for question in seen.questions] if files else []
    patterns = [f"(?i){'|'.join(map(re.escape, words))}" for words in asked if words]
    return [*calls, *(Wanted.of("search", path=".", pattern=pattern) for pattern in patterns)]


def _relevance(path: str, questions: Sequence[str]) -> int:
    """Files that the question names come first, then those that look like logs."""
    stem = path.rpartition("/")[2].partition(".")[0].lower()
    if stem and any(stem in question.lower() for question in questions):
        return 0
    return 1 if re.search(r"\.(log|out|err|txt|jsonl)(\.\d+)?$|(^|/)(syslog|messages)", path) else 2


def words_of(question: str) -> list[str]:
    """The words of a question that are worth a search; none of one in which we find no words."""
    words = [word.lower() for word in re.findall(r"\w[\w.-]*\w", question[:2000])]
    telling = (word.removesuffix("s") for word in words if len(word) > 3 and word not in _COMMON.split())
    return list(dict.fromkeys(telling))[:MOST_WORDS]


def _readings(seen: Evidence) -> list[Wanted]:
    errors = [line for line in seen.problems if line.severity == "error"]
    around: list[tuple[Line, int, int]] = []
    if cause := cause_of(seen.problems):
        around.append((cause, 8, 14))
        main = _busiest(errors or seen.problems)
        around += [(line, 2, 12) for line in errors[::-1] if line.path == main][:1]
        around += [(line, 3, 6) for line in errors if line.path not in (cause.path, main)][:1]
    elif seen.mentioned:
        around.append((min(seen.mentioned, key=in_order), 3, 12))
    return [
        Wanted.of("read", path=line.path, start=max(1, line.number - before), lines=before + 1 + after)
        for line, before, after in around
    ]


def cause_of(problems: Sequence[Line]) -> Line | None:
    """The likely first cause: of what was said up to the first error, the rarest; of those, the earliest, and
    rather from the file with the most errors than from another. ``problems`` are in order."""
    first = next((number for number, line in enumerate(problems) if line.severity == "error"), None)
    until = problems[: first + 1] if first is not None else problems
    if not until:
        return None
    often = Counter(line.kind for line in problems)
    main = _busiest([line for line in problems if line.severity == "error"] or problems)
    return min(until, key=lambda line: (often[line.kind], line.path != main, in_order(line)))


def _busiest(lines: Sequence[Line]) -> str:
    return Counter(line.path for line in lines).most_common(1)[0][0]


MODEL = ScriptedModel("analyst", turn)
