"""``Agent``: instructions, models, tools and bounds, as their author writes them.

Checked when it is made, so that a mistake is an error at import with the name of what is wrong, not a run that
fails at night. It does no I/O: a worker loads it, a run records its ``spec()`` once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pydantic import ValidationError

from interlock.agent_tools import NAME, AgentTool
from interlock.contracts import (
    ACCOUNT_FIELDS,
    LONGEST,
    Account,
    AgentSpec,
    Limits,
    Models,
    OnUnknown,
    Price,
    Retry,
    Rung,
    ToolSpec,
    explain,
)
from interlock.mcp_server import McpServer

_MODEL = re.compile(r"[a-z][a-z0-9/_-]*:\S+")

DEFAULT_LIMITS = Limits(step_seconds=60, tool_calls=100)
"""What holds where an agent says nothing. Recorded in each run's spec: changing it changes new runs only."""


DESCRIBED = 300
"""Characters of an agent's instructions that describe it as a tool, where it has no description."""

MOST_ASKED = 10**9
"""Of output tokens, and of calls side by side."""

_NAMED = {
    "models": 'one "provider:model", or Models(simple=..., medium=..., complex=...)',
    "limits": "Limits(...)",
    "retry": "Retry(...)",
    "prices": 'of the form {"provider:model": Price(...)}',
    **dict.fromkeys(("max_parallel_tools", "max_output_tokens", "repeat_limit"), "a whole number"),
    **dict.fromkeys(("approval_timeout", "cache_max_age"), "a number of seconds"),
}
"""What a field takes, as its author writes it."""

AGENT_PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "input": {
            "type": "string",
            "minLength": 1,
            "description": "The task, with all it needs to know: it sees nothing else.",
        }
    },
    "required": ["input"],
    "additionalProperties": False,
}


@dataclass(frozen=True, kw_only=True)
class Agent:
    """An agent: instructions, models, tools and bounds.

    name                 how tasks ask for it
    instructions         the system prompt
    description          what a model reads that may call it as a tool; default: the instructions' first paragraph
    models               one ``provider:model``, or ``Models`` by complexity with fallbacks
    tools                functions made with ``@tool``, MCP servers, and other agents
    limits               upper bounds of each run; a task may only tighten them. Where nothing is said:
                         ``step_seconds`` 60, ``tool_calls`` 100, nothing else limited
    prices               dollars per million tokens of models of one's own
    retry                how patiently calls are tried again
    plan                 True: one planning call before the first step
    max_parallel_tools   how many calls of one reply run side by side
    max_output_tokens    the most a model may write in one reply
    accounts             budgets shared with other runs, each with its window (UTC)
    ladder               what a run that cannot go on tries, in order: ``final_answer``, ``cache``, ``notice``
    on_budget            ``pause``: out of money, wait for a person to extend it, instead of stepping down
    cache_max_age        seconds for which an earlier answer to the same input may stand in
    cache_scope          whose earlier answers may: the same ``user``'s, or any user's of the ``agent``
    on_unknown           where nobody can tell whether a write took effect: ``ask`` a person, or ``tell`` the model
    approval_timeout     seconds for which a call waits for a person; then it is rejected
    repeat_limit         the same call with the same result so many times in a row ends the run, after one warning

    Raises ``ValueError`` or ``TypeError`` naming the field, when it is made."""

    name: str
    instructions: str
    description: str = ""
    models: Models | str
    tools: Sequence[AgentTool | McpServer | Agent] = ()
    limits: Limits = field(default_factory=Limits)
    prices: Mapping[str, Price] = field(default_factory=dict)
    retry: Retry = field(default_factory=Retry)
    plan: bool = False
    max_parallel_tools: int = 8
    max_output_tokens: int = 8192
    accounts: Sequence[Account] = ()
    ladder: Sequence[Rung] = ("final_answer", "cache", "notice")
    on_budget: Literal["degrade", "pause"] = "degrade"
    cache_max_age: float = 86_400.0
    cache_scope: Literal["user", "agent"] = "user"
    on_unknown: OnUnknown = "tell"
    approval_timeout: float = 86_400.0
    repeat_limit: int = 5

    def __post_init__(self) -> None:
        self._keep_whole()
        if not NAME.fullmatch(self.name):
            raise ValueError(f"agent name {self.name!r}: use 1 to 64 of A-Z a-z 0-9 _ -")
        self._check_kinds()
        for model in self.chosen.all():
            if not _MODEL.fullmatch(model):
                raise ValueError(f"agent {self.name}: model {model!r} is not provider:model, e.g. openai:gpt-5-mini")
        self._check_tools()
        for name in ("max_parallel_tools", "max_output_tokens"):
            if not 1 <= (number := getattr(self, name)) <= MOST_ASKED:
                raise ValueError(f"agent {self.name}: {name} {number!r} must be at least 1, and at most {MOST_ASKED:,}")
        if self.repeat_limit < 2:
            raise ValueError(f"agent {self.name}: repeat_limit {self.repeat_limit} must be at least 2")
        if unknown := [rung for rung in self.ladder if rung not in get_args(Rung)]:
            raise ValueError(f"agent {self.name}: ladder has {unknown[0]!r}; rungs are {', '.join(get_args(Rung))}")
        if self.on_budget not in ("degrade", "pause"):
            raise ValueError(f"agent {self.name}: on_budget {self.on_budget!r} is neither degrade nor pause")
        if self.cache_scope not in ("user", "agent"):
            raise ValueError(f"agent {self.name}: cache_scope {self.cache_scope!r} is neither user nor agent")
        self._check_trust()
        try:
            self._recorded({}, ())  # what else does not fit what a run records of it
        except ValidationError as error:
            raise ValueError(f"agent {self.name}: {explain(error, AgentSpec)}") from None

    def _keep_whole(self) -> None:
        """Copies: a generator has an end. A list of tools is kept: an agent that calls itself is put into its own."""
        if not isinstance(self.name, str):
            raise TypeError(f"agent {self.name!r}: its name is not a text")
        for name in ("tools", "accounts", "ladder"):
            given = getattr(self, name)
            if isinstance(given, str) or not isinstance(given, Iterable):
                raise TypeError(f"agent {self.name}: {name} {given!r} is not a list")
            if not (name == "tools" and isinstance(given, list)):
                object.__setattr__(self, name, tuple(given))

    def _check_kinds(self) -> None:
        """What is read below, before a run records it, is of its kind."""
        whole, seconds = int, int | float
        expected = {
            "models": str | Models, "limits": Limits, "retry": Retry, "prices": Mapping, "max_parallel_tools": whole,
            "max_output_tokens": whole, "repeat_limit": whole, "approval_timeout": seconds, "cache_max_age": seconds,
        }  # fmt: skip
        for name, kind in expected.items():
            if not isinstance(value := getattr(self, name), kind):
                raise TypeError(f"agent {self.name}: {name} {value!r} is not {_NAMED[name]}")
        accounts: Sequence[object] = self.accounts
        if wrong := [each for each in accounts if not isinstance(each, Account)]:
            said = f"accounts has {wrong[0]!r}, which is not Account(name, usd=..., window=...)"
            raise TypeError(f"agent {self.name}: {said}")
        for account in self.accounts:
            if unknown := [each for each in re.findall(r"{[^}]*}", account.name) if each not in ACCOUNT_FIELDS]:
                known = " and ".join(ACCOUNT_FIELDS)
                raise ValueError(f"agent {self.name}: account {account.name!r} has {unknown[0]}; known are {known}")

    def _check_trust(self) -> None:
        if self.on_unknown not in get_args(OnUnknown):
            raise ValueError(f"agent {self.name}: on_unknown {self.on_unknown!r} is neither ask nor tell")
        for name in ("approval_timeout", "cache_max_age"):
            if not 0 < (seconds := getattr(self, name)) <= LONGEST:
                why = f"{seconds!r} must be more than 0 seconds, and at most {LONGEST:,}"
                raise ValueError(f"agent {self.name}: {name} {why}")
        for each in (tool for tool in self.tools if isinstance(tool, AgentTool)):
            if absent := [need.name for need in each.requires_fresh if need not in self.tools]:
                raise ValueError(
                    f"agent {self.name}: {each.name} requires fresh results of {', '.join(absent)}; add it to tools"
                )

    def _check_tools(self) -> None:
        for each in self.tools:
            if not isinstance(each, AgentTool | McpServer | Agent):
                raise TypeError(f"agent {self.name}: {each!r} is not a tool; decorate the function with @tool")
        for kind, what in ((AgentTool | Agent, "tools"), (McpServer, "MCP servers")):
            names = [each.name for each in self.tools if isinstance(each, kind)]
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"agent {self.name}: two {what} named {', '.join(sorted(twice))}")

    @property
    def own_limits(self) -> Limits:
        """Its limits, with what holds where it says nothing."""
        return DEFAULT_LIMITS.model_copy(update=self.limits.model_dump(exclude_none=True))

    def as_tool(self) -> ToolSpec:
        """What a run of an agent that may call this one records of it."""
        paragraph = " ".join(self.instructions.strip().partition("\n\n")[0].split())
        return ToolSpec(
            name=self.name,
            description=self.description or paragraph[:DESCRIBED] or f"The agent {self.name}.",
            parameters=AGENT_PARAMETERS,
            agent=self.name,
            agent_limits=self.own_limits,
        )

    @property
    def chosen(self) -> Models:
        return Models.one(self.models) if isinstance(self.models, str) else self.models

    def spec(self, prices: Mapping[str, Price] | None = None) -> AgentSpec:
        """What a run of this agent records. ``prices``: of every model it may use, where known."""
        if unasked := [each.name for each in self.tools if isinstance(each, McpServer)]:
            raise ValueError(
                f"agent {self.name}: MCP server {unasked[0]} has not been asked for its tools; a worker does"
            )
        tools = tuple(
            each.as_tool() if isinstance(each, Agent) else each.spec()
            for each in self.tools
            if not isinstance(each, McpServer)
        )
        return self._recorded(prices or {}, tools)

    def _recorded(self, prices: Mapping[str, Price], tools: tuple[ToolSpec, ...]) -> AgentSpec:
        return AgentSpec(
            name=self.name,
            instructions=self.instructions,
            models=self.chosen,
            tools=tools,
            limits=self.own_limits,
            retry=self.retry,
            prices={**prices, **self.prices},
            plan=self.plan,
            max_parallel_tools=self.max_parallel_tools,
            max_output_tokens=self.max_output_tokens,
            accounts=tuple(self.accounts),
            ladder=tuple(self.ladder),
            on_budget=self.on_budget,
            cache_max_age=self.cache_max_age,
            cache_scope=self.cache_scope,
            on_unknown=self.on_unknown,
            approval_timeout=self.approval_timeout,
            repeat_limit=self.repeat_limit,
            schema_bytes=sum(len(tool.model_dump_json().encode()) for tool in tools),
            numbered=True,
        )
