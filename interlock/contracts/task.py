"""What a run is asked and what it answers, what people send to it, and what it says of itself."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints

from interlock.contracts.base import (
    Asked,
    Complexity,
    Count,
    Indexed,
    Money,
    Outcome,
    Seconds,
    Source,
    State,
    Who,
    Wire,
    unset,
)
from interlock.contracts.children import ParentRun
from interlock.contracts.kill import KillReport

INDEXED_BYTES = 2000
"""The server takes search attributes of 2,048 bytes as JSON, and terminates a run that sets a longer one."""


def _fits_the_index(name: str) -> str:
    if (size := len(json.dumps(name))) > INDEXED_BYTES:
        raise ValueError(f"it takes {size} bytes in the server's index, which has room for {INDEXED_BYTES}")
    return name


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
    steps: Annotated[Count, Field(ge=1)] | None = None
    tool_calls: Count | None = None


class AgentTask(Asked):
    """What a client starts an ``AgentRun`` with.

    priority  1 before 5, where runs wait for a worker
    parent    set by a run that starts another as a tool"""

    agent: Annotated[Indexed, StringConstraints(min_length=1, max_length=64)]
    input: Annotated[str, StringConstraints(min_length=1)]
    user_id: Annotated[Indexed, StringConstraints(min_length=1, max_length=200), AfterValidator(_fits_the_index)] = (
        "anonymous"
    )
    complexity: Complexity = "medium"
    limits: Limits | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    priority: Annotated[int, Field(ge=1, le=5, strict=True)] = 3
    # Left out where there is none: a worker of an earlier release refuses what it does not know.
    parent: ParentRun | None = Field(default=None, exclude_if=unset)


# Bounded as every number that others may send: a run is told by signal what one that it had started used.
_Sum = Annotated[Decimal, Field(ge=-(10**24), le=10**24, decimal_places=60, allow_inf_nan=False)]


class Usage(Wire):
    """What was used and charged. ``usd_unsettled`` is the part of ``usd`` charged at its bound, because
    the fate of an attempt is unknown; it can only be too high."""

    calls: int = 0
    attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    usd: _Sum = Decimal(0)
    usd_unsettled: _Sum = Decimal(0)

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in Usage.model_fields})

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class AgentResult(Wire):
    """How a run ended. ``reason`` says why, in words, whenever ``outcome`` is not ``completed``.
    ``steered``: it was told more than its input, or began with another run's conversation.
    ``kill_report``: of a killed run, what it had done, what was stopped, and what nobody can know."""

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
    steered: bool = Field(default=False, exclude_if=unset)
    kill_report: KillReport | None = None


class Note(Asked):
    """Payload of ``kill``, ``pause`` and ``resume``. ``fleet_knows``: of a kill, that every gate holds back
    whatever the run asks for."""

    reason: Annotated[str, StringConstraints(max_length=2000)] = ""
    by: Who = "unknown"
    fleet_knows: bool = False


class ChildEnded(Wire):
    """Payload of ``child_ended``: what a run that is cancelled had done, for the run that it worked for. Temporal tells
    that one nothing but that it was cancelled."""

    run: str
    call_id: str
    result: AgentResult


class ChildWaits(Wire):
    """Payload of ``child_waits``: that a run waits for people, or goes on, for the run that it works for."""

    run: str
    call_id: str
    waits: bool


class Steer(Asked):
    """Payload of ``steer``: a message to the model before its next turn."""

    message: Annotated[str, StringConstraints(min_length=1, max_length=100_000)]
    by: Who = "unknown"


class Decision(Asked):
    """Payload of ``decide``: a person's answer to a call that waits for approval. ``arguments_hash``, as the status
    shows it: the decision is refused where it was made for other arguments."""

    call_id: str
    approve: bool
    arguments_hash: str | None = None
    reason: Annotated[str, StringConstraints(max_length=2000)] = ""
    by: Who = "unknown"


class Extension(Asked):
    """Payload of ``extend``: limits to raise."""

    limits: Limits
    by: Who = "unknown"


class PendingApproval(Wire):
    """A call that waits for a person. ``kind``: ``approval``, may it be made; ``outcome``, did it take effect?
    ``why`` it is asked, in words."""

    call_id: str
    tool: str
    arguments: str
    since: AwareDatetime
    expires: AwareDatetime | None = None
    kind: Literal["approval", "outcome"] = "approval"
    arguments_hash: str = ""
    summary: str = ""
    why: str = ""


class Decided(Wire):
    """A question to a person that is closed; nobody answered an ``expired`` one."""

    call_id: str
    verdict: Literal["approved", "rejected", "expired"]
    at: AwareDatetime
    by: str = ""
    reason: str = ""


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
    kill_report: KillReport | None = None


FAIRNESS_BYTES = 64
"""The longest fairness key that Temporal takes."""


def fairness_key(user_id: str) -> str:
    """Whose turn it is where runs wait: the user's own. A name that is too long stands as its hash."""
    data = user_id.encode(errors="replace")
    return data.decode() if len(data) <= FAIRNESS_BYTES else hashlib.sha256(data).hexdigest()


def input_hash(agent: str, text: str) -> str:
    """Names an agent's input, for ``AgentInputHash``: the same question to the same agent, the same hash."""
    return hashlib.sha256(f"{agent}\x00{text}".encode()).hexdigest()[:32]
