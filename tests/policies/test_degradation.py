from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Literal

import pytest

from interlock.contracts import Rung
from interlock.policies.degradation import Trouble, aged, rungs, words

ALL: tuple[Rung, ...] = ("final_answer", "cache", "notice")


@pytest.mark.parametrize(
    ("ladder", "kind", "begun", "tried"),
    [
        (ALL, "limit", True, ["final_answer", "cache", "notice"]),
        (ALL, "limit", False, ["cache", "notice"]),  # nothing is known yet
        (ALL, "models", True, ["cache", "notice"]),  # models that failed are not asked again
        (ALL, "models", False, ["cache", "notice"]),
        (("cache", "final_answer"), "limit", True, ["cache", "final_answer", "notice"]),  # the agent's own order
        ((), "limit", True, ["notice"]),
        (("notice", "cache"), "limit", True, ["notice"]),  # a notice can always be given: nothing comes after it
    ],
)
def test_which_rungs_are_tried(
    ladder: tuple[Rung, ...], kind: Literal["limit", "models"], begun: bool, tried: list[Rung]
) -> None:
    assert rungs(ladder, Trouble(kind, "why"), begun=begun) == tried


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(0), "0 seconds"),
        (timedelta(seconds=1.9), "1 second"),
        (timedelta(seconds=59), "59 seconds"),
        (timedelta(seconds=60), "1 minute"),
        (timedelta(minutes=59, seconds=59), "59 minutes"),
        (timedelta(hours=3, minutes=59), "3 hours"),
        (timedelta(days=1), "1 day"),
        (timedelta(days=400), "400 days"),
        (timedelta(seconds=-5), "0 seconds"),  # clocks differ
    ],
)
def test_ages(age: timedelta, text: str) -> None:
    assert words(age) == text


def test_a_remembered_answer_says_how_old_it_is() -> None:
    now = datetime(2027, 1, 1, 1, 30, tzinfo=UTC)
    assert aged("42", now - timedelta(hours=2), now) == "[Answer from 2 hours ago, 2026-12-31 23:30 UTC]\n42"
    elsewhere = (now - timedelta(hours=2)).astimezone(timezone(timedelta(hours=9)))
    assert aged("42", elsewhere, now) == aged("42", now - timedelta(hours=2), now)
