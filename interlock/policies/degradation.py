"""The ladder: what a run still answers when it cannot go on as it was.

Walked in order, each rung only if it can be taken: one final answer without tools from what is known, the
last good answer to the same input, a notice. A degraded result always says so, and why.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Rung: TypeAlias = Literal["final_answer", "cache", "notice"]

NOTICE = "Service temporarily unavailable. Please try again later."

FINAL_ANSWER_PROMPT = (
    "You cannot call tools any more: {reason}. Answer now, as well as what you have found so far allows, "
    "and say what you could not find out."
)
