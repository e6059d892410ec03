"""What ``@tool`` and ``Agent`` refuse of windows, requirements, approvals and verify functions: at import, by name."""

from __future__ import annotations

from typing import Any

import pytest

from interlock import Agent, ToolContext, tool
from interlock.tools import Tool


@tool(effect="read", valid_for=60)
def quote(symbol: str) -> str:
    """A price."""
    return "10"


@tool(effect="read")
def look() -> str:
    """Look."""
    return ""


@tool(valid_for=60)
def post() -> str:
    """Post."""
    return ""


def buy(symbol: str, amount: int = 1) -> str:
    """Buy."""
    return symbol


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"valid_for": 0}, "valid_for 0 must be more than 0 seconds"),
        ({"valid_for": float("nan")}, "valid_for nan"),
        ({"cache": True, "effect": "read"}, "cache=True needs"),
        ({"cache": True, "valid_for": 60}, "cache=True needs"),
        ({"approval_timeout": -1}, "approval_timeout -1 must be more than 0 seconds"),
        ({"on_unknown": "guess"}, "on_unknown 'guess' is neither ask nor tell"),
        ({"requires_fresh": ["quote"]}, "requires_fresh has 'quote', which is not a tool"),
        ({"requires_fresh": [look]}, "requires_fresh names look, which must say valid_for"),
        ({"requires_fresh": [post]}, "requires_fresh names post, which must say valid_for and be no write"),
        ({"approval": "yes"}, "its approval function 'yes' must be a function"),
        ({"approval": lambda price: True}, "its approval function takes 'price', which is no argument of the tool"),
        ({"approval": lambda price: True}, "those are: symbol, amount"),
        ({"approval": lambda *all: True}, "given arguments by their names"),
        ({"approval": lambda context: True}, "its approval function takes 'context'"),
        ({"verify": 7}, "its verify function 7 must be a function"),
        ({"verify": lambda key: True}, "its verify function takes 'key'"),
    ],
)
def test_a_mistake_is_an_error_at_import_that_names_it(options: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError) as refused:
        Tool(buy, **options)
    assert said in str(refused.value)
    assert str(refused.value).startswith("tool buy: ")


def test_a_function_beside_a_tool_is_given_what_it_names() -> None:
    def verify(amount: int, context: ToolContext, other: int = 7) -> bool:
        return True

    made = Tool(buy, verify=verify, approval=lambda **everything: True)
    assert made.verify is not None
    assert made.predicate is not None
    given = {**made.defaults, **made.bind('{"symbol": "A"}')}
    assert made.verify.arguments(given, "the context") == {"amount": 1, "context": "the context"}
    assert made.predicate.arguments(given) == {"symbol": "A", "amount": 1}
    spec = made.spec()
    assert (spec.approval, spec.verifies, spec.on_unknown, spec.requires_fresh) == ("predicate", True, None, ())
    assert Tool(buy, approval=True).spec().approval == "always"
    assert Tool(buy, requires_fresh=[quote]).spec().requires_fresh == ("quote",)
    plain = Tool(buy).spec().model_dump_json()
    assert not any(
        name in plain for name in ("valid_for", "cache", "requires_fresh", "approval", "verif", "on_unknown")
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tools": [Tool(buy, requires_fresh=[quote])]}, "buy requires fresh results of quote; add it to tools"),
        ({"on_unknown": "guess"}, "on_unknown 'guess' is neither ask nor tell"),
        ({"approval_timeout": 0}, "approval_timeout 0 must be more than 0"),
        ({"approval_timeout": 1e14}, "must be more than 0 seconds, and at most 1,000,000,000"),
        ({"cache_max_age": float("inf")}, "cache_max_age inf must be more than 0 seconds, and at most"),
        ({"cache_max_age": float("nan")}, "cache_max_age nan must be more than 0"),
        ({"cache_max_age": 0}, "cache_max_age 0 must be more than 0"),
        ({"max_output_tokens": 10**400}, "max_output_tokens 10"),
    ],
)
def test_an_agent_has_what_its_tools_require(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match="agent a: ") as refused:
        Agent(**{"name": "a", "instructions": "", "models": "p:m", **options})
    assert said in str(refused.value)
    complete = Agent(name="a", instructions="", models="p:m", tools=[quote, Tool(buy, requires_fresh=[quote])])
    assert (complete.spec().on_unknown, complete.spec().approval_timeout) == ("tell", 86_400.0)
