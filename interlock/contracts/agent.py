"""An agent, as a run records it once: a deploy never changes a run under way."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field

from interlock.contracts.base import Asked, Count, Effect, Json, OnUnknown, Rate, Rung, Seconds, Wire, unset
from interlock.contracts.children import Account
from interlock.contracts.task import Limits


class Retry(Asked):
    """How patient a call is. Attempt ``n`` (from 1) is followed by a wait drawn from
    ``[(1 - jitter) * d, d]`` with ``d = min(maximum, initial * factor ** (n - 1))`` seconds:
    ``jitter=1`` is full jitter, ``0`` none. A provider's Retry-After takes precedence when longer."""

    attempts: Annotated[int, Field(ge=1, le=100)] = 4
    initial: Seconds = 1.0
    factor: Annotated[float, Field(ge=1, le=1000, allow_inf_nan=False)] = 2.0
    maximum: Seconds = 30.0
    jitter: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1.0


class Rates(Asked):
    """Dollars per million tokens. ``cached_input`` (default: ``input``) is for input read from the
    provider's cache; ``cache_write`` (default: ``input``) for input written to it."""

    input: Rate
    output: Rate
    cached_input: Rate | None = None
    cache_write: Rate | None = None


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
    """A tool as the run records it: what the model is shown, and what the run may do with it.

    valid_for         seconds for which a result is true
    cache             a result is used again for the same arguments, inside its window
    requires_fresh    tools whose results must still be true when this one acts
    approval          a person decides: ``always``, or where the tool's predicate says so
    approval_timeout  seconds the decision is waited for; ``None``: as the agent says
    verifies          it has a function that finds out whether a call took effect
    on_unknown        where that cannot be found out; ``None``: as the agent says
    agent             it is another agent, which is run for it
    agent_limits      that agent's own limits"""

    name: str
    description: str
    parameters: dict[str, Json]
    effect: Effect = "write"
    timeout: float | None = None
    retry: Retry | None = None
    max_result_bytes: int = 65_536
    # Left out where nothing is said: the bound of a request is made of these bytes.
    agent: str | None = Field(default=None, exclude_if=unset)
    agent_limits: Limits | None = Field(default=None, exclude_if=unset)
    valid_for: float | None = Field(default=None, exclude_if=unset)
    cache: bool = Field(default=False, exclude_if=unset)
    requires_fresh: tuple[str, ...] = Field(default=(), exclude_if=unset)
    approval: Literal["always", "predicate"] | None = Field(default=None, exclude_if=unset)
    approval_timeout: float | None = Field(default=None, exclude_if=unset)
    verifies: bool = Field(default=False, exclude_if=unset)
    on_unknown: OnUnknown | None = Field(default=None, exclude_if=unset)


class Keeping(Wire):
    """What a run keeps of results, to use them again and to see whether they change. Recorded with the run.

    results       how many, of all tools together
    result_bytes  of one result that is to be used again; a longer one is not
    total_bytes   of all of them
    excerpt       characters of a result that is only compared, for the model to read
    rounds        how often in a row a call's requirements are fetched before it is given up"""

    results: int = 50
    result_bytes: int = 65_536
    total_bytes: int = 262_144
    excerpt: int = 2000
    rounds: int = 3


class Bounds(Wire):
    """What the bound of a call is made of, in tokens. Recorded with the run: another release may reckon otherwise.

    least_output    below it a call is not worth its input
    good_output     what is leased for, where money is shared
    final_output    held back for a final answer
    message_margin  what a provider adds around one message or tool call: roles, separators, ids
    request_margin  what it adds to a request
    tools_margin    what it adds to one with tools: its own instructions on how to call them
    window_margin   bytes that are added to a result with a window when it is shown
    classify_bytes  what the question around a task that is to be classified takes, at most,
    classify_output and its answer
    least_seconds   below it no call is begun
    breaker_wait    seconds a run without a time budget waits for a circuit breaker, in all of one turn
    breaker_spread  seconds over which runs that wait for one return, at least
    breaker_least   seconds that a run waits for one, at least: what could be tried at once is being tried"""

    least_output: int = 64
    good_output: int = 256
    final_output: int = 512
    message_margin: int = 16
    request_margin: int = 64
    tools_margin: int = 1024
    window_margin: int = 200
    classify_bytes: int = 512
    classify_output: int = 64
    least_seconds: float = 0.1
    breaker_wait: float = 900.0
    breaker_spread: float = 1.0
    breaker_least: float = 0.2


class AgentSpec(Wire):
    """An agent as a run records it, once: a deploy never changes a run under way.

    depth        how many runs below the first one, which a person started, a run may be
    index_every  seconds between two changes of a run's search attributes, in the long run,
    index_burst  how many may come one upon the other before that,
    index_late   and how many seconds late they are once it is so
    longest_id   of a run that a run starts, in characters: the server refuses ids of more than 1000 bytes
    numbered     the activity of a model call is named by its number alone. In runs that were begun before it was, by a
                 hash of all that is new to the model as well: no word that they are told may be put better"""

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
    accounts: tuple[Account, ...] = ()
    ladder: tuple[Rung, ...] = ("final_answer", "cache", "notice")
    on_budget: Literal["degrade", "pause"] = "degrade"
    cache_max_age: float = 86_400.0
    cache_scope: Literal["user", "agent"] = "user"
    schema_bytes: int = 0
    bounds: Bounds = Bounds()
    index_every: float = 0.5
    index_burst: int = 10
    index_late: float = 2.0
    on_unknown: OnUnknown = "tell"
    approval_timeout: float = 86_400.0
    keeping: Keeping = Keeping()
    repeat_limit: int = 5
    depth: int = 3
    longest_id: int = 250
    numbered: bool = False
    fleet: str = ""

    def tool(self, name: str) -> ToolSpec | None:
        return next((tool for tool in self.tools if tool.name == name), None)


class ResolveAgent(Wire):
    """Input of ``resolve_agent``. ``begun``: when the run was started, or the one that it works for."""

    agent: str
    user_id: str = "anonymous"
    begun: AwareDatetime | None = None
