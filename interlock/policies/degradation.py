"""The ladder: what a run still answers when it cannot go on as it was.

    one final answer without tools, from money and time held back for it
    -> the last good answer to the same input, from history, labelled with its age
    -> a notice

Walked in order, each rung only if it can be taken. An agent may declare its own ladder. A degraded result always
says that it is one, where it came from, and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from interlock.contracts import Finish, Rung

NOTICE = "Service temporarily unavailable. Please try again later."

FINAL_ANSWER_PROMPT = (
    "You cannot call tools any more: {reason}. Answer now, as well as what you have found so far allows, "
    "and say what you could not find out."
)


@dataclass(frozen=True)
class Trouble:
    """Why a run steps down. ``kind`` is what is in the way: a limit, or the models themselves. ``money``: it is a limit
    on that."""

    kind: Literal["limit", "models"]
    reason: str
    money: bool = False


def rungs(ladder: Sequence[Rung], trouble: Trouble, *, begun: bool) -> list[Rung]:
    """The rungs that may be tried, in order; a notice can always be given.

    A final answer is of use once something is known (``begun``), and can be had where it was a limit that was in
    the way: models that have just failed are not asked again."""
    usable: list[Rung] = [rung for rung in ladder if rung != "final_answer" or (begun and trouble.kind == "limit")]
    return [*usable, "notice"] if "notice" not in usable else usable[: usable.index("notice") + 1]


def cut_off(cut_to: str | None, finish: Finish) -> str | None:
    """That an answer is not whole, in words. ``cut_to``: what the money for it sufficed for, where that was short."""
    if cut_to is not None:
        return f"the answer was cut off: {cut_to}"
    match finish:
        case "length":
            return "the answer was cut off by its length"
        case "content_filter":
            return "the answer was cut off by the provider's content filter"
        case _:
            return None


def aged(output: str, as_of: datetime, now: datetime) -> str:
    """A remembered answer, labelled with its age."""
    return f"[Answer from {words(now - as_of)} ago, {as_of.astimezone(UTC):%Y-%m-%d %H:%M} UTC]\n{output}"


def words(age: timedelta) -> str:
    """``3 hours``, ``1 minute``."""
    seconds = max(0, int(age.total_seconds()))
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return f"{seconds} second{'s' if seconds != 1 else ''}"
