"""The conversation: messages, and the parts that replies are made of."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AwareDatetime, Field

from interlock.contracts.agent import AgentSpec
from interlock.contracts.base import Json, Wire, unset


class TextPart(Wire):
    """What the model said. ``extra`` is the provider's own (ids, marks), returned to it unchanged."""

    kind: Literal["text"] = "text"
    text: str
    extra: dict[str, Json] | None = None


class CallPart(Wire):
    """A tool the model asks for. ``call_id`` is Interlock's and unique in the run (``s3c1``: step 3, call 1);
    ``arguments`` is the JSON text as the model wrote it."""

    kind: Literal["call"] = "call"
    call_id: str
    tool: str
    arguments: str
    extra: dict[str, Json] | None = None


class OpaquePart(Wire):
    """What only its provider understands, such as signed thinking: carried, never read."""

    kind: Literal["opaque"] = "opaque"
    data: Json


Part: TypeAlias = Annotated[TextPart | CallPart | OpaquePart, Field(discriminator="kind")]


class UserMessage(Wire):
    role: Literal["user"] = "user"
    text: str


class AssistantMessage(Wire):
    """A reply. ``provider`` is who wrote the parts' ``extra`` and opaque data; nobody else is sent them."""

    role: Literal["assistant"] = "assistant"
    provider: str
    parts: tuple[Part, ...] = ()

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def calls(self) -> tuple[CallPart, ...]:
        return tuple(part for part in self.parts if isinstance(part, CallPart))


class ToolMessage(Wire):
    """What a tool call came to, as the model is shown it: with its window, where its tool has one.

    observed_at  no later than what it tells was read, on the run's clock
    valid_until  the end of its window
    cached       it is an earlier call's result, used again"""

    role: Literal["tool"] = "tool"
    call_id: str
    tool: str
    content: str
    is_error: bool = False
    # Left out where there is no window: what names a call is made of its messages, and must outlive a release.
    observed_at: AwareDatetime | None = Field(default=None, exclude_if=unset)
    valid_until: AwareDatetime | None = Field(default=None, exclude_if=unset)
    cached: bool = Field(default=False, exclude_if=unset)


def size(message: UserMessage | AssistantMessage | ToolMessage) -> int:
    """Bytes of a message, with all that is sent of it; never less than a tokenizer sees."""
    return len(message.model_dump_json().encode())


Message: TypeAlias = Annotated[UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")]


class Transcript(Wire):
    """A run's conversation up to a point; ``last_reply`` names the reply it ends with or follows."""

    spec: AgentSpec
    messages: tuple[Message, ...] = ()
    last_reply: str = ""
