"""Every type that crosses a wire: task, result, signals, activity inputs, what continue-as-new carries.

Laws of this file (DESIGN, section 2):

* Whatever can change a decision is in here, as a run's input or state, never a module constant: a
  constant that changes between releases breaks the replay of every open run.
* Frozen, and only grown: a field is added with a default and never renamed, retyped or removed.
  Histories outlive releases.
* What people and other programs send (``AgentTask``, signals, updates) refuses unknown fields, so that a
  typing mistake is an error with a name. What Interlock sends to itself ignores them, so that a worker of
  the previous release can read what a newer one wrote.

Money is ``Decimal``, in US dollars, a string in JSON. Spans are seconds. Times carry a zone.
Nothing here performs I/O, reads a clock or imports more than the standard library and pydantic.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

Complexity: TypeAlias = Literal["simple", "medium", "complex", "auto"]
Tier: TypeAlias = Literal["simple", "medium", "complex"]
Outcome: TypeAlias = Literal["completed", "degraded", "unavailable", "killed", "cancelled"]
Source: TypeAlias = Literal["model", "final_answer", "cache", "notice"]
Effect: TypeAlias = Literal["read", "idempotent", "write"]
State: TypeAlias = Literal["starting", "running", "paused", "waiting_approval", "waiting_breaker", "closed"]
Purpose: TypeAlias = Literal["step", "plan", "classify", "final"]
Finish: TypeAlias = Literal["stop", "tool_calls", "length", "content_filter", "other"]
LimitName: TypeAlias = Literal["usd", "tokens", "seconds", "step_seconds", "steps", "tool_calls"]

Money: TypeAlias = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
Count: TypeAlias = Annotated[int, Field(ge=0, strict=True)]
Seconds: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Who: TypeAlias = Annotated[str, StringConstraints(max_length=200)]

Json: TypeAlias = Any  # any JSON value; pydantic's JsonValue costs a recursive validation of every tool result


class Wire(BaseModel):
    """Base of what Interlock sends to itself: frozen; unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Asked(BaseModel):
    """Base of what is asked from outside: frozen; unknown fields are refused by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# -- what a run is asked, and what it answers --------------------------------------------------------


class Limits(Asked):
    """Upper bounds of one run. ``None``: not limited here.

    usd           dollars, all model calls together; hard
    tokens        input and output tokens, all model calls together; hard
    seconds       working time of the run; waiting for people does not count
    step_seconds  one attempt of one call, a model's or a tool's
    steps         turns with the model; a final answer without tools comes on top
    tool_calls    calls of tools, all tools together
    """

    usd: Money | None = None
    tokens: Count | None = None
    seconds: Seconds | None = None
    step_seconds: Seconds | None = None
    steps: Annotated[int, Field(ge=1, strict=True)] | None = None
    tool_calls: Count | None = None


class AgentTask(Asked):
    """What a client starts an ``AgentRun`` with."""

    agent: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    input: Annotated[str, StringConstraints(min_length=1)]
    user_id: Annotated[str, StringConstraints(min_length=1, max_length=200)] = "anonymous"
    complexity: Complexity = "medium"
    limits: Limits | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


class Usage(Wire):
    """What was used and charged. ``usd_unsettled`` is the part of ``usd`` charged at its bound, because
    the fate of an attempt is unknown; it can only be too high."""

    calls: int = 0
    attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    usd: Decimal = Decimal(0)
    usd_unsettled: Decimal = Decimal(0)

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in Usage.model_fields})

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class AgentResult(Wire):
    """How a run ended. ``reason`` says why, in words, whenever ``outcome`` is not ``completed``."""

    outcome: Outcome
    output: str
    source: Source
    as_of: AwareDatetime | None = None
    reason: str | None = None
    steps: int = 0
    tool_calls: int = 0
    usage: Usage = Usage()
    by_model: dict[str, Usage] = Field(default_factory=dict)
    by_tool: dict[str, int] = Field(default_factory=dict)


# -- what people send to a run under way -------------------------------------------------------------


class Note(Asked):
    """Payload of ``kill``, ``pause`` and ``resume``."""

    reason: Annotated[str, StringConstraints(max_length=2000)] = ""
    by: Who = "unknown"


class Steer(Asked):
    """Payload of ``steer``: a message to the model before its next turn."""

    message: Annotated[str, StringConstraints(min_length=1, max_length=100_000)]
    by: Who = "unknown"


class Decision(Asked):
    """Payload of ``decide``: a person's answer to a call that waits for approval."""

    call_id: str
    approve: bool
    reason: Annotated[str, StringConstraints(max_length=2000)] = ""
    by: Who = "unknown"


class Extension(Asked):
    """Payload of ``extend``: limits to raise."""

    limits: Limits
    by: Who = "unknown"


class PendingApproval(Wire):
    """A call that waits for a person."""

    call_id: str
    tool: str
    arguments: str
    since: AwareDatetime
    expires: AwareDatetime | None = None


class Routed(Wire):
    """Which model took a step, and why."""

    step: int
    model: str
    reason: str


class RunStatus(Wire):
    """Answer of the ``status`` query."""

    run: str
    agent: str
    user_id: str
    state: State
    outcome: Outcome | None = None
    reason: str | None = None
    step: int = 0
    tool_calls: int = 0
    model: str | None = None
    complexity: Complexity = "medium"
    limits: Limits = Limits()
    spent: dict[str, str] = Field(default_factory=dict)
    remaining: dict[str, str | None] = Field(default_factory=dict)
    usage: Usage = Usage()
    routing: tuple[Routed, ...] = ()
    pending_approvals: tuple[PendingApproval, ...] = ()
    breakers: tuple[str, ...] = ()
    ignored_signals: int = 0


# -- what an agent is, as its run records it once ------------------------------------------------------


class Retry(Asked):
    """How patient a call is. Attempt ``n`` (from 1) is followed by a wait drawn from
    ``[(1 - jitter) * d, d]`` with ``d = min(maximum, initial * factor ** (n - 1))`` seconds:
    ``jitter=1`` is full jitter, ``0`` none. A provider's Retry-After takes precedence when longer."""

    attempts: Annotated[int, Field(ge=1, le=100)] = 4
    initial: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    factor: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 2.0
    maximum: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0
    jitter: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1.0


class Rates(Asked):
    """Dollars per million tokens. ``cached_input`` (default: ``input``) is for input read from the
    provider's cache; ``cache_write`` (default: ``input``) for input written to it."""

    input: Money
    output: Money
    cached_input: Money | None = None
    cache_write: Money | None = None


class LongContext(Rates):
    """Rates of a whole request whose input is more than ``above`` tokens."""

    above: Count


class Price(Rates):
    """What a model costs, with other rates for long contexts where its provider has them."""

    long_context: tuple[LongContext, ...] = ()


class Models(Asked):
    """Which model takes which work, each as ``provider:name``; ``fallback`` in order of preference."""

    simple: str
    medium: str
    complex: str
    fallback: tuple[str, ...] = ()

    @classmethod
    def one(cls, model: str) -> Self:
        return cls(simple=model, medium=model, complex=model)

    def all(self) -> tuple[str, ...]:
        """Every model once, cheapest tier first."""
        return tuple(dict.fromkeys((self.simple, self.medium, self.complex, *self.fallback)))


class ToolSpec(Wire):
    """A tool as the run records it: what the model is shown, and what the run may do with it."""

    name: str
    description: str
    parameters: dict[str, Json]
    effect: Effect = "write"
    timeout: float | None = None
    retry: Retry | None = None
    max_result_bytes: int = 65_536


class AgentSpec(Wire):
    """An agent as a run records it, once: a deploy never changes a run under way."""

    name: str
    instructions: str
    models: Models
    tools: tuple[ToolSpec, ...] = ()
    limits: Limits = Limits()
    retry: Retry = Retry()
    prices: dict[str, Price] = Field(default_factory=dict)
    plan: bool = False
    max_parallel_tools: int = 8
    max_output_tokens: int = 8192

    def tool(self, name: str) -> ToolSpec | None:
        return next((tool for tool in self.tools if tool.name == name), None)


class ResolveAgent(Wire):
    """Input of ``resolve_agent``."""

    agent: str
    user_id: str = "anonymous"


# -- the conversation ------------------------------------------------------------------------------


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
    """What a tool call came to, as the model is shown it."""

    role: Literal["tool"] = "tool"
    call_id: str
    tool: str
    content: str
    is_error: bool = False


Message: TypeAlias = Annotated[UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")]


class Transcript(Wire):
    """A run's conversation up to a point; ``last_reply`` names the reply it ends with or follows."""

    spec: AgentSpec
    messages: tuple[Message, ...] = ()
    last_reply: str = ""


# -- activities --------------------------------------------------------------------------------------


class Grant(Wire):
    """What one model call may use at most; what was not granted cannot be spent."""

    max_tokens: int
    attempts: int


class Attempt(Wire):
    """One try at a model call. ``unknown``: it may have been billed, nobody can tell."""

    number: int
    fate: Literal["unknown", "unbilled", "billed"]
    worker: str = ""
    error: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0


class ModelCall(Wire):
    """Input of ``model``: never the conversation, only where it stands and what is new.

    ``base`` messages came before ``delta``, and the last of them is the reply ``after``. ``key`` names the
    call for good, across attempts, workers and resets. ``carry``: return the whole transcript with the
    reply, because the run is about to continue as new."""

    key: str
    step: int
    model: str
    purpose: Purpose = "step"
    base: int
    after: str = ""
    delta: tuple[Message, ...]
    tools: bool = True
    grant: Grant
    price: Price | None = None
    retry: Retry = Retry()
    carry: bool = False


class ModelReply(Wire):
    """Output of ``model``. ``problems`` are the calls that must not run: call id -> what to tell the model."""

    reply_id: str
    message: AssistantMessage
    finish: Finish
    model: str
    response_model: str | None = None
    problems: dict[str, str] = Field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    usage: Usage = Usage()
    seconds: float = 0.0
    transcript: Transcript | None = None


class ToolCall(Wire):
    """Input of ``tool.<name>``. ``key`` is the idempotency key: one for each call, whatever happens to it."""

    call_id: str
    key: str
    tool: str
    arguments: str
    agent: str
    user_id: str
    step: int
    effect: Effect = "write"
    retry: Retry = Retry()
    max_result_bytes: int = 65_536
    metadata: dict[str, str] = Field(default_factory=dict)


class ToolResult(Wire):
    """Output of ``tool.<name>``."""

    content: str
    is_error: bool = False
    seconds: float = 0.0


# -- state carried over continue-as-new ----------------------------------------------------------------


class Progress(Wire):
    """A run's whole state but its conversation: what continue-as-new carries."""

    spec: AgentSpec
    limits: Limits
    step: int = 0
    calls: int = 0
    messages: int = 0
    last_reply: str = ""
    delta: tuple[Message, ...] = ()
    tool_calls: int = 0
    refused_calls: int = 0
    worked: float = 0.0
    by_model: dict[str, Usage] = Field(default_factory=dict)
    by_tool: dict[str, int] = Field(default_factory=dict)
    routing: tuple[Routed, ...] = ()
    paused: Note | None = None
    ignored_signals: int = 0


class Carried(Wire):
    """Input of a run that continues as new, in place of its task."""

    kind: Literal["interlock.carried"] = "interlock.carried"
    task: AgentTask
    progress: Progress
    transcript: Transcript


# -- reading what came from outside ---------------------------------------------------------------------

M = TypeVar("M", bound=BaseModel)


def parse(model: type[M], value: object) -> M:
    """``value`` as ``model``. Raises ``ValueError`` with one line that names every field that is wrong."""
    try:
        if isinstance(value, model):
            return value
        return model.model_validate_json(json.dumps(value)) if isinstance(value, dict) else model.model_validate(value)
    except ValidationError as error:
        raise ValueError(explain(error, model)) from None
    except (TypeError, RecursionError) as error:
        raise ValueError(f"{model.__name__}: {error}") from None


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """A validation error as one line: each field, what is wrong with it, and the fields there are."""
    lines: list[str] = []
    unknown = False
    for item in error.errors(include_url=False, include_context=False):
        field = ".".join(str(part) for part in item["loc"]) or "the object"
        unknown = unknown or item["type"] == "extra_forbidden"
        said = "unknown field" if item["type"] == "extra_forbidden" else item["msg"]
        value = repr(item["input"])
        shown = "" if item["type"] in ("missing", "extra_forbidden") else f" (got {value[:60]})"
        lines.append(f"{field}: {said}{shown}")
    if unknown:
        known = (info.alias or name for name, info in model.model_fields.items())
        lines.append(f"known fields: {', '.join(known) or 'none'}")
    return "; ".join(lines)


def input_hash(agent: str, text: str) -> str:
    """Names an agent's input, for ``AgentInputHash``: the same question to the same agent, the same hash."""
    return hashlib.sha256(f"{agent}\x00{text}".encode()).hexdigest()[:32]


def utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)
