"""Markdown that the Web UI renders as it is meant.

Only what it renders well: bold, code, lists and fenced blocks. (Tables come without space between their cells, quotes
in a larger size, two dashes as one, and what stands between two dollar signs as a formula: so no tables, every command
in a block, and every amount in a span of code.)

Whatever somebody else has written, a run's id, a reason, arguments, a model's name, stands in a span of code: nothing
in it is markup there, once it is one line without back quotes.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal


def page(*parts: Sequence[str]) -> str:
    """Parts with an empty line between them: the UI shows what follows a list without one as its last item."""
    return "\n\n".join(text for part in parts if (text := "\n".join(line for line in part if line)))


def fence(*commands: Sequence[str]) -> list[str]:
    """Commands to copy. A line of it begins with the command's name, so none can end the block."""
    return ["```", *(line_of(shlex.join(each)) for each in commands), "```"]


def code(text: str, most: int = 160) -> str:
    """``text`` as a span of code on one line: no character of it means anything there."""
    line = line_of(text).replace("`", "'")
    return f"`{line if len(line) <= most else line[: most - 1] + '…'}`" if line else "`?`"


def line_of(text: str) -> str:
    """``text`` on one line, without what is no character to see."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def usd(value: Decimal) -> str:
    return code(f"${value:.4f}")


def several(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def time_of(value: datetime) -> str:
    return f"{value:%H:%M:%S} UTC"


def day_of(value: datetime) -> str:
    """What may be longer ago than today, or later."""
    return f"{value:%Y-%m-%d %H:%M} UTC"
