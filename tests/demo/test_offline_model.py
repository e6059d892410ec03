"""The offline model, over files of all kinds: what it answers comes from them, and it says what it is."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from examples.analyst import analyst
from examples.offline import turn, words_of
from interlock import Tool, ToolError
from interlock.contracts import AssistantMessage, CallPart, Message, TextPart, ToolMessage, UserMessage
from tests.root import source_root

TOOLS = {tool.name: tool for tool in analyst.tools if isinstance(tool, Tool)}


async def converse(question: str, *, steer: str = "") -> tuple[str, list[Message]]:
    """The answer and the conversation, as a run has it, with the real tools and nothing of Temporal."""
    messages: list[Message] = [UserMessage(text=question)]
    for step in range(1, 12):
        said = turn(messages, list(TOOLS))
        assert said == turn(list(messages), list(TOOLS)), "it must be a function of the conversation"
        calls = [
            CallPart(call_id=f"s{step}c{n}", tool=name, arguments=given) for n, (name, given) in enumerate(said.calls)
        ]
        messages.append(AssistantMessage(provider="scripted", parts=(TextPart(text=said.text), *calls)))
        if not calls:
            return said.text, messages
        messages += [await result(call) for call in calls]
        if steer and step == 3:
            messages.append(UserMessage(text=steer))
    raise AssertionError("it never answered")


async def result(call: CallPart) -> ToolMessage:
    tool = TOOLS[call.tool]
    try:
        value = tool.function(**tool.bind(call.arguments))
        content = tool.render(await value if inspect.isawaitable(value) else value)
    except ToolError as error:
        return ToolMessage(call_id=call.call_id, tool=call.tool, content=str(error), is_error=True)
    return ToolMessage(call_id=call.call_id, tool=call.tool, content=content)


INCIDENT = """\
2026-01-02T10:00:00Z INFO starting version=2
2026-01-02T10:00:01Z WARN cache disabled: key ttl renamed
2026-01-02T10:01:00Z ERROR id=1 read timed out
2026-01-02T10:02:00Z ERROR id=2 read timed out
"""
SYSLOG = "Jan  2 10:00:00 host app[7]: connection refused by 192.0.2.1\n"
TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1\nValueError: exception in parsing\n'

CASES: dict[str, tuple[dict[str, str | bytes], str, list[str]]] = {
    "an empty directory": ({}, "why?", ["There are no files to look at"]),
    "binary files only": ({"core": b"\0ERROR"}, "why?", ["None of the files is text", "core"]),
    "no errors": ({"a.log": "INFO fine\nINFO errors=0\n"}, "why?", ["No line of a.log looks like an error"]),
    "no errors, but the question's word": ({"a.log": "INFO payment ok\n"}, "payment?", ["a.log:1: INFO payment ok"]),
    "an incident": (
        {"a.log": INCIDENT},
        "what happened",
        [
            "Likely first cause, at a.log:2 (said once), 59 s before the first error",
            "a.log:1: 2026-01-02T10:00:00Z INFO starting version=2",
            "2 error lines in a.log (2), from 2026-01-02 10:01:00 to 2026-01-02 10:02:00",
            "the most frequent (2 times)",
        ],
    ),
    "no level and no year": ({"syslog": SYSLOG * 3}, "why?", ["3 error lines in syslog (3)", "connection refused"]),
    "a traceback": ({"out.txt": TRACEBACK}, "why?", ["out.txt:3: ValueError: exception in parsing"]),
    "warnings only": ({"a.log": "WARN disk 91% full\n"}, "why?", ["There are warnings and no errors", "a.log:1:"]),
    "another language": ({"a.log": INCIDENT}, "为什么支付失败了？ Почему? 🤷", ["at a.log:2"]),
    "no words at all": ({"a.log": INCIDENT}, "??? (((", ["at a.log:2"]),
    "odd names": ({"two\nlines: 7: b.log": INCIDENT, 'it\'s "1".log': b""}, "why?", [r"two\nlines: 7: b.log:2"]),
    "many files": ({f"{n:02}.log": INCIDENT for n in range(30)}, "why?", ["at 00.log:2", "22 more"]),
    "very many errors": ({"a.log": "ERROR down\n" * 5000}, "why?", ["At least 120 error lines"]),
    "nonsense in times": (
        {"a.log": "2026-99-99T10:00:00Z ERROR a\n[99/Xyz/2026:99:99:99 +0] ERROR b\n"},
        "?",
        ["2 error"],
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_it_answers_from_what_the_tools_showed(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, question, expected = CASES[case]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setenv("INTERLOCK_DEMO_DIR", str(tmp_path))
    answer, _ = await converse(question)
    assert "offline scripted model, not an LLM" in answer.splitlines()[0]
    assert [fragment for fragment in expected if fragment not in answer] == [], answer


async def test_it_finds_the_cause_in_the_logs_of_the_demonstration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_DEMO_DIR", str(source_root() / "examples/data"))
    answer, messages = await converse("Why did checkouts fail?")
    assert "Likely first cause, at payments.log:38 (said once), 2 min 10 s before the first error" in answer
    assert "61 error lines in payments.log (40), checkout.log (11), gateway.log (10)" in answer
    side_by_side = [len(message.calls) for message in messages if isinstance(message, AssistantMessage)]
    assert side_by_side == [1, 5, 3, 0]


async def test_it_looks_for_what_a_person_adds_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_DEMO_DIR", str(source_root() / "examples/data"))
    answer, _ = await converse("Why did checkouts fail?", steer="Was postgres out of connections?")
    assert "(postgre, connection)" in answer


async def test_a_directory_that_is_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_DEMO_DIR", str(tmp_path / "gone"))
    answer, _ = await converse("why?")
    assert "I could not look at any file" in answer


def test_without_tools_it_answers_from_what_it_has() -> None:
    assert turn([UserMessage(text="why?")], []).calls == ()


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("Why did checkouts fail?", ["checkout"]),
        ("", []),
        ("why, why", []),
        ("req-77 at 10:00 in payments.client", ["req-77", "payments.client"]),
        ("Почему упали платежи", ["почему", "упали", "платежи"]),
        ("a" * 10_000, ["a" * 2000]),
    ],
)
def test_the_words_of_a_question(question: str, words: list[str]) -> None:
    assert words_of(question) == words
