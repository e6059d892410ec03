"""Inputs and outputs of activities, and the state that continue-as-new carries."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, TypeAlias

from pydantic import AwareDatetime, Field

from interlock.contracts.agent import AgentSpec, Price, Retry
from interlock.contracts.base import Effect, Finish, Purpose, Tier, Verdict, Window, Wire, unset
from interlock.contracts.children import Account
from interlock.contracts.conversation import AssistantMessage, Message, Transcript
from interlock.contracts.kill import KilledCall
from interlock.contracts.ledger import LeaseRequest, Settlement
from interlock.contracts.task import AgentTask, Decided, Limits, Note, Routed, Usage


class Grant(Wire):
    """What one model call may use at most; what was not granted cannot be spent. ``input_tokens``: the bound of
    what it sends; ``usd``: what one attempt can cost at most."""

    max_tokens: int
    attempts: int
    input_tokens: int = 0
    usd: Decimal = Decimal(0)


class Attempt(Wire):
    """One try at a model call. ``unknown``: it may have been billed, nobody can tell."""

    number: int
    fate: Literal["unknown", "unbilled", "billed"]
    error: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0


class ModelCall(Wire):
    """Input of ``model``: never the conversation, only where it stands and what is new.

    ``base`` messages came before ``delta``, and the last of them is the reply ``after``. ``key`` names the
    call for good, across attempts, workers and resets. ``carry``: return the whole transcript with the
    reply, because the run is about to continue as new. ``at``: the run's time, by which results are past their
    window or not. ``begun``: when the run was started, or the one that it works for."""

    key: str
    step: int
    model: str
    purpose: Purpose = "step"
    base: int
    after: str = ""
    delta: tuple[Message, ...]
    tools: bool = True
    grant: Grant
    price: Price
    retry: Retry = Retry()
    carry: bool = False
    at: AwareDatetime | None = None
    user_id: str = ""
    agent: str = ""
    begun: AwareDatetime | None = None


class ModelReply(Wire):
    """Output of ``model``. ``problems`` are the calls that must not run: call id -> what to tell the model.
    ``approvals``: what predicates said of calls: call id -> why a person must decide, or nothing: none need."""

    reply_id: str
    message: AssistantMessage
    finish: Finish
    model: str
    response_model: str | None = None
    problems: dict[str, str] = Field(default_factory=dict)
    approvals: dict[str, str] = Field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    usage: Usage = Usage()
    seconds: float = 0.0
    transcript: Transcript | None = None


class ToolCall(Wire):
    """Input of ``tool.<name>``. ``key`` is the idempotency key: one for each call, whatever happens to it.

    verify       do not call the tool: find out whether the call with this key took effect
    at           the run's time when the call was made
    valid_for    seconds from then for which the result is true
    fresh_until  no attempt begins later: what the call relies on may be out of date
    begun        when the run was started, or the one that it works for"""

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
    verify: bool = False
    at: AwareDatetime | None = None
    valid_for: float | None = None
    fresh_until: AwareDatetime | None = None
    begun: AwareDatetime | None = None


class ToolResult(Wire):
    """Output of ``tool.<name>``. ``verdict``: of a call that was to be verified, what was found."""

    content: str
    is_error: bool = False
    seconds: float = 0.0
    observed_at: AwareDatetime | None = Field(default=None, exclude_if=unset)
    valid_until: AwareDatetime | None = Field(default=None, exclude_if=unset)
    verdict: Verdict | None = Field(default=None, exclude_if=unset)


class Seen(Wire):
    """The latest result of a tool for some arguments, in their canonical form. ``said``: its content, or an excerpt;
    ``digest``: of all that it says."""

    tool: str
    arguments: str
    observed_at: AwareDatetime
    valid_until: AwareDatetime
    digest: str
    said: str
    whole: bool = True


class LeaseCall(Wire):
    """Input of ``lease``: take money from a shared account for a run."""

    account: str
    request: LeaseRequest
    limit_usd: Decimal
    window: Window


class SettleCall(Wire):
    """Input of ``settle``: tell a shared account what a run spent."""

    account: str
    settlement: Settlement


class RecallCall(Wire):
    """Input of ``recall``: the last good answer to the same input."""

    agent: str
    input_hash: str
    user_id: str | None
    max_age: float
    before: AwareDatetime
    run: str


class AuditCall(Wire):
    """Input of ``audit``: which of these runs, ``id/execution``, have ended?"""

    runs: tuple[str, ...]


class Recalled(Wire):
    """Output of ``recall``; ``output`` is ``None`` when there is none."""

    output: str | None = None
    as_of: AwareDatetime | None = None
    run: str | None = None


AlertKind: TypeAlias = Literal["cost_outlier", "anomaly_kill", "account_limit", "breaker_opened", "mirror_stale"]


class Alert(Wire):
    """Input of ``alert``: something a person should look at. ``key``: alerts with one key are one alert."""

    kind: AlertKind
    key: str
    text: str
    fields: dict[str, str] = Field(default_factory=dict)


class Leased(Wire):
    """What a run has of one shared account."""

    account: Account
    usd: Decimal = Decimal(0)
    requests: int = 0


class Repeats(Wire):
    """How often in a row the same call had the same result. ``warned``: the model was told."""

    call: str = ""
    times: int = 0
    warned: bool = False


class Progress(Wire):
    """A run's whole state but its conversation: what continue-as-new carries."""

    spec: AgentSpec
    limits: Limits
    step: int = 0
    calls: int = 0
    messages: int = 0
    last_reply: str = ""
    delta: tuple[Message, ...] = ()
    steered: bool = False
    answered: str = ""
    tool_calls: int = 0
    refused_calls: int = 0
    worked: float = 0.0
    by_model: dict[str, Usage] = Field(default_factory=dict)
    by_tool: dict[str, int] = Field(default_factory=dict)
    routing: tuple[Routed, ...] = ()
    paused: Note | None = None
    ignored_signals: int = 0
    tier: Tier | None = None
    bytes: int = 0
    last_model: str = ""
    last_tokens: int = 0
    leases: tuple[Leased, ...] = ()
    of_children: Usage = Usage()
    begun: AwareDatetime | None = None
    seen: tuple[Seen, ...] = ()
    open_windows: tuple[AwareDatetime, ...] = ()
    decided: tuple[Decided, ...] = ()
    completed_calls: tuple[KilledCall, ...] = ()
    stopped_calls: tuple[KilledCall, ...] = ()
    unknown_calls: tuple[KilledCall, ...] = ()
    repeats: Repeats = Repeats()
    circuits: dict[str, str] = Field(default_factory=dict)


class Carried(Wire):
    """Input of a run that continues as new, in place of its task."""

    kind: Literal["interlock.carried"] = "interlock.carried"
    task: AgentTask
    progress: Progress
    transcript: Transcript
