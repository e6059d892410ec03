"""A run's history, reduced to its conversation. Pure: what to read events with is ``interlock.history``.

A run's messages are in its history exactly once: in the inputs and results of its own ``model`` activities.
The laws by which they make up the conversation:

1. A call's ``delta`` and its reply become messages when the reply is usable, and only then. A call that
   failed, or whose reply was empty or cut off, leaves the conversation as it was: the next call brings the
   same delta again.
2. A call whose purpose is to classify the task is no part of the conversation.
3. Results of tools are the next call's delta. What a live run has not yet told its model is not yet said.
4. A run that continued as new starts from the transcript it was given.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from interlock.contracts import AgentSpec, Message, ModelCall, ModelReply, Transcript


@dataclass(frozen=True)
class Resolved:
    """The run recorded what its agent is."""

    spec: AgentSpec


@dataclass(frozen=True)
class Continued:
    """The run went on from an earlier one's conversation."""

    transcript: Transcript


@dataclass(frozen=True)
class Replied:
    """A ``model`` activity completed."""

    call: ModelCall
    reply: ModelReply


Event: TypeAlias = Resolved | Continued | Replied


def unusable(reply: ModelReply) -> str | None:
    """Why a reply cannot be taken into the conversation, in words; ``None``: it can.

    A provider refuses a conversation with an empty turn, or with a call whose arguments stop in the middle."""
    if reply.message.calls and reply.finish == "length":
        return "the reply was cut off by its length in the middle of a tool call"
    if not reply.message.calls and not reply.message.text.strip():
        if reply.finish == "content_filter":
            return "the provider's content filter withheld the reply"
        if reply.finish == "length":
            return "the reply was cut off by its length before it said anything"
        return "the reply had no text and no tool call"
    return None


def joins(call: ModelCall, reply: ModelReply) -> bool:
    """Whether a completed call is part of the conversation (laws 1 and 2)."""
    return call.purpose != "classify" and unusable(reply) is None


def extend(messages: tuple[Message, ...], call: ModelCall, reply: ModelReply) -> tuple[Message, ...]:
    return (*messages, *call.delta, reply.message)


def fold(events: Iterable[Event]) -> Transcript:
    """The conversation after ``events``. Raises ``ValueError`` when they hold none, or contradict themselves."""
    transcript: Transcript | None = None
    for event in events:
        match event:
            case Continued(transcript=given):
                transcript = given
            case Resolved(spec=spec) if transcript is None:
                transcript = Transcript(spec=spec)
            case Replied(call=call, reply=reply) if joins(call, reply):
                if transcript is None:
                    raise ValueError(f"model call {call.key} came before the agent was resolved")
                if call.base != len(transcript.messages):
                    raise ValueError(
                        f"model call {call.key} follows {call.base} messages; {len(transcript.messages)} came before"
                    )
                transcript = transcript.model_copy(
                    update={
                        "messages": extend(transcript.messages, call, reply),
                        "last_reply": reply.reply_id,
                    }
                )
    if transcript is None:
        raise ValueError("the history holds no resolved agent yet")
    return transcript
