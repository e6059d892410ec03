"""What the log keeps of what a tool raised, and what the model is told of it."""

from __future__ import annotations

from typing import Any

import pytest

from activities.tool_failures import MOST_LOGGED, known, raised
from interlock import tool
from interlock.contracts import ToolCall
from interlock.errors import Failure
from tests.telemetry.watched import events, lines


@tool(effect="read")
def look() -> str:
    """Look."""
    return ""


CALL = ToolCall(call_id="s1c1", key="k", tool="look", arguments="{}", agent="a", user_id="u", step=1, effect="read")


class Unshowable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


def deep(frames: int) -> None:
    if frames:
        deep(frames - 1)
    try:
        raise KeyError("the first cause")
    except KeyError as error:
        raise ValueError("line one\nline two") from error


def told(error: BaseException) -> tuple[str, str]:
    """What the model is told, and what the log says of it."""
    with lines() as out:
        failure = raised(look, CALL, error)
    [line] = events(out)
    return str(failure), str(line["where"])


def caught(function: Any, *arguments: Any) -> Exception:
    try:
        function(*arguments)
    except ValueError as error:
        return error
    raise AssertionError("it did not fail")


def test_the_log_is_told_all_of_it_and_the_model_one_line() -> None:
    model, log = told(caught(deep, 9))
    assert model == "look failed: ValueError: line one"
    assert "line one\nline two" in log
    assert "KeyError: 'the first cause'" in log
    assert log.index("in deep\n") < log.index("the first cause") < log.index("in caught\n") < log.index("line two")


def test_one_of_megabytes_is_cut_in_the_middle() -> None:
    _, log = told(ValueError(f"begins {'x' * 5_000_000} ends"))
    assert len(log) < MOST_LOGGED + 100
    assert log.startswith("ValueError: begins xxx")
    assert log.rstrip().endswith("xxx ends")


def test_one_that_cannot_be_shown_is_a_failure_like_any_other() -> None:
    model, log = told(Unshowable())
    assert model == "look failed: Unshowable: a message that cannot be shown (RuntimeError)"
    assert "Unshowable" in log


@pytest.mark.parametrize("outage", [True, False])
def test_a_tools_own_failure_says_itself_whether_what_it_calls_is_down(*, outage: bool) -> None:
    said = known(Failure("ToolFailed", "later", retry_after=7, outage=outage), CALL)
    assert (said.kind, said.outage, said.retry_after) == ("ToolFailed", outage, 7)


def test_what_a_tools_own_failure_was_raised_from_is_logged_and_without_that_it_is_logged_once() -> None:
    failure = Failure("ToolFailed", "the shop is closed")
    failure.__cause__ = caught(deep, 0)
    with lines() as out:
        known(Failure("ToolFailed", "the shop is closed"), CALL)
        known(failure, CALL)
    [line] = events(out)
    assert (line["event"], line["error"]) == ("tool.raised", "Failure: the shop is closed")
    assert "line two" in line["where"]


def cut(kind: str, **fields: object) -> Exception:
    """An error of a library that has its own name for it."""
    error: Exception = type(kind, (Exception,), {})("cut")
    vars(error).update(fields)
    return error


@pytest.mark.parametrize(
    ("error", "outage"),
    [
        (cut("ConnectionError"), True),  # requests, redis
        (cut("TimeoutError"), True),  # redis
        (cut("ProtocolError"), True),  # urllib3
        (cut("URLError", reason=ConnectionRefusedError()), True),  # urllib.request
        (cut("URLError", reason="unknown url type"), False),
        (ExceptionGroup("two", [ValueError(), ExceptionGroup("in it", [ConnectionResetError()])]), True),
        (ExceptionGroup("two", [ValueError(), KeyError()]), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_what_did_not_answer_is_told_from_what_failed(error: Exception, *, outage: bool) -> None:
    assert raised(look, CALL, error).outage is outage
    write = CALL.model_copy(update={"effect": "write"})
    assert raised(look, write, error).kind == ("ToolOutcomeUnknown" if outage else "ToolFailed")
