"""The laws by which a history makes up a conversation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.contracts import (
    AgentSpec,
    AssistantMessage,
    CallPart,
    Finish,
    Grant,
    Message,
    ModelCall,
    ModelReply,
    Models,
    Price,
    Purpose,
    TextPart,
    Transcript,
    UserMessage,
)
from interlock.transcript import Continued, Event, Replied, Resolved, fold, unusable

SPEC = AgentSpec(name="a", instructions="", models=Models.one("scripted:x"))


def reply(text: str = "", *, calls: int = 0, finish: Finish = "stop", id: str = "r") -> ModelReply:
    parts = [TextPart(text=text)] if text else []
    asked = [CallPart(call_id=f"c{number}", tool="t", arguments="{}") for number in range(calls)]
    message = AssistantMessage(provider="scripted", parts=(*parts, *asked))
    return ModelReply(reply_id=id, message=message, finish=finish, model="scripted:x")


def model_call(base: int, *said: str, purpose: Purpose = "step") -> ModelCall:
    delta: tuple[Message, ...] = tuple(UserMessage(text=text) for text in said)
    grant = Grant(max_tokens=1, attempts=1)
    return ModelCall(
        key="k",
        step=1,
        model="scripted:x",
        base=base,
        delta=delta,
        grant=grant,
        purpose=purpose,
        price=Price(input="0", output="0"),
    )


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (reply("an answer"), None),
        (reply(calls=1, finish="tool_calls"), None),
        (reply("cut", finish="length"), None),
        (reply("text too", calls=1, finish="length"), "in the middle of a tool call"),
        (reply(), "no text and no tool call"),
        (reply("  \n"), "no text and no tool call"),
        (reply(finish="length"), "before it said anything"),
        (reply(finish="content_filter"), "content filter"),
    ],
)
def test_which_replies_can_be_used(given: ModelReply, problem: str | None) -> None:
    said = unusable(given)
    assert said is None if problem is None else problem in (said or "")


def texts(transcript: Transcript) -> list[str]:
    return [message.text for message in transcript.messages if message.role != "tool"]


def test_an_unusable_reply_leaves_the_conversation_as_it_was() -> None:
    events: list[Event] = [
        Resolved(SPEC),
        Replied(model_call(0, "q"), reply()),
        Replied(model_call(0, "q", "again"), reply("a", id="r1")),
    ]
    assert texts(fold(events)) == ["q", "again", "a"]
    assert fold(events).last_reply == "r1"


def test_classifying_is_no_part_of_the_conversation() -> None:
    events: list[Event] = [
        Resolved(SPEC),
        Replied(model_call(0, "how hard?", purpose="classify"), reply("simple")),
        Replied(model_call(0, "q"), reply("a")),
    ]
    assert texts(fold(events)) == ["q", "a"]


def test_a_continued_run_starts_from_what_it_was_given() -> None:
    before = Transcript(spec=SPEC, messages=(UserMessage(text="q"), reply("a").message), last_reply="r0")
    events: list[Event] = [Continued(before), Replied(model_call(2, "and?"), reply("b", id="r1"))]
    assert texts(fold(events)) == ["q", "a", "and?", "b"]


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([], "no resolved agent"),
        ([Replied(model_call(0, "q"), reply("a"))], "before the agent was resolved"),
        ([Resolved(SPEC), Replied(model_call(2, "q"), reply("a"))], "follows 2 messages; 0 came before"),
    ],
)
def test_a_history_that_contradicts_itself_is_refused(events: list[Event], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fold(events)


@given(st.lists(st.tuples(st.lists(st.text(max_size=5), max_size=3), st.booleans()), max_size=30), st.integers(0, 30))
def test_a_conversation_carried_over_is_the_one_that_never_was(turns: list[tuple[list[str], bool]], cut: int) -> None:
    events: list[Event] = [Resolved(SPEC)]
    base = 0
    for said, usable in turns:
        events.append(Replied(model_call(base, *said), reply("a" if usable else "", id=f"r{len(events)}")))
        base += len(said) + 1 if usable else 0
    whole = fold(events)
    head = fold(events[: cut + 1])
    assert fold([Continued(head), *events[cut + 1 :]]) == whole
    assert len(whole.messages) == base
