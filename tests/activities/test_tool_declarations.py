"""What ``@tool`` makes of a function: its schema, its arguments, and an error at import when it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from interlock.agent_tools import ToolContext
from interlock.tools import Tool, tool


class Level(StrEnum):
    LOW = "low"
    HIGH = "high"


@dataclass
class Place:
    x: int
    y: int = 0


class Filter(BaseModel):
    word: str
    exact: bool = False


@tool(effect="read")
def search(
    query: Annotated[str, "What to look for"],
    where: Place,
    filters: list[Filter],
    level: Level,
    *,
    limit: Annotated[int, Field(ge=1, le=100, description="How many")] = 10,
    after: str | None = None,
    schema: bool = False,
    context: ToolContext,
) -> list[str]:
    """Search.

    Several words are all looked for.
    """
    return [query]


def test_a_signature_becomes_a_schema() -> None:
    spec = search.spec()
    Draft202012Validator.check_schema(spec.parameters)
    properties = spec.parameters["properties"]
    assert list(properties) == ["query", "where", "filters", "level", "limit", "after", "schema"]
    assert spec.parameters["required"] == ["query", "where", "filters", "level"]
    assert spec.parameters["additionalProperties"] is False
    assert properties["query"] == {"type": "string", "description": "What to look for"}
    assert properties["limit"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "default": 10,
        "description": "How many",
    }
    assert properties["after"]["default"] is None
    assert spec.parameters["$defs"]["Level"]["enum"] == ["low", "high"]
    assert spec.parameters["$defs"]["Place"]["required"] == ["x"]
    assert spec.description == "Search.\n\nSeveral words are all looked for."
    assert spec.effect == "read"


def test_a_default_of_none_may_be_given_whatever_the_annotation_says() -> None:
    """A model that reads ``"default": null`` in a schema sends it."""

    @tool(effect="read")
    def find(word: str, most: Annotated[int, Field(ge=1)] = None) -> str:  # type: ignore[assignment]  # noqa: RUF013
        """Find."""
        return word

    validator = Draft202012Validator(find.parameters)
    for most in (None, 3):
        assert not list(validator.iter_errors({"word": "x", "most": most}))
        assert find.bind(f'{{"word": "x", "most": {"null" if most is None else most}}}')["most"] == most
    assert list(validator.iter_errors({"word": "x", "most": 0}))


def test_arguments_become_what_the_function_declares() -> None:
    given = search.bind(
        '{"query": "a", "where": {"x": 1}, "filters": [{"word": "w"}], "level": "high", "schema": true}'
    )
    assert given == {
        "query": "a",
        "where": Place(1),
        "filters": [Filter(word="w")],
        "level": Level.HIGH,
        "schema": True,
    }  # and what was not said is left to the function's own defaults


def test_a_tool_is_still_the_function_it_was() -> None:
    @tool
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    assert add(1, b=2) == 3
    assert (add.effect, add.name, add.__doc__) == ("write", "add", "Add.")
    assert add.render({"a": 1}) == '{"a":1}'
    assert add.render("as it is") == "as it is"


class Opaque: ...


def documented(function: Callable[..., Any]) -> Callable[..., Any]:
    function.__doc__ = "Does something."
    return function


def no_docstring(a: int) -> None: ...


@documented
def not_annotated(a, b: int) -> None: ...  # type: ignore[no-untyped-def]


@documented
def star_args(*numbers: int) -> None: ...


@documented
def star_kwargs(**options: int) -> None: ...


@documented
def positional(a: int, /) -> None: ...


@documented
def opaque(thing: Opaque) -> None: ...


def field_default(x: int = Field(5, ge=1)) -> None:
    """Take a default that is none of the function's."""


def annotated_default(x: Annotated[int, Field(default=3)]) -> None:
    """Take a default that the function has not."""


@documented
def called(back: Callable[[], int]) -> None: ...


@documented
def gives_opaque() -> Opaque:
    return Opaque()


@documented
def unreadable(a: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@documented
def fine(a: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        (no_docstring, {}, "tool no_docstring: give it a docstring"),
        (not_annotated, {}, "tool not_annotated: annotate parameter 'a'"),
        (star_args, {}, r"tool star_args: parameter \*numbers"),
        (star_kwargs, {}, r"tool star_kwargs: parameter \*\*options"),
        (positional, {}, "tool positional: parameter a"),
        (opaque, {}, "tool opaque: parameter 'thing' cannot be put in a schema"),
        (called, {}, "tool called: parameter 'back' cannot be put in a schema"),
        (field_default, {}, "tool field_default: parameter 'x' has its default in a Field"),
        (annotated_default, {}, "tool annotated_default: parameter 'x' has its default in a Field"),
        (fine, {"max_result_bytes": 300.5}, "tool fine: max_result_bytes: .*integer"),
        (fine, {"timeout": "5"}, "tool fine: timeout '5' is not a number"),
        (fine, {"valid_for": [1]}, r"tool fine: valid_for \[1\] is not a number"),
        (fine, {"retry": 3}, "tool fine: retry: .*Retry"),
        (gives_opaque, {}, "tool gives_opaque: what it returns"),
        (unreadable, {}, "tool unreadable: an annotation.*Nowhere"),
        (lambda: None, {}, "tool name '<lambda>'"),
        (fine, {"name": "not a name"}, "tool name 'not a name'"),
        (fine, {"name": "x" * 65}, "tool name 'xxx"),
        (fine, {"effect": "sometimes"}, "tool fine: effect 'sometimes' is not one of read, idempotent, write"),
        (fine, {"timeout": 0}, "tool fine: timeout 0 must be more than 0"),
        (fine, {"timeout": float("nan")}, "tool fine: timeout nan"),
        (fine, {"max_result_bytes": 1}, "tool fine: max_result_bytes 1"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or (str(value) if isinstance(value, dict) else None),
)
def test_a_mistake_is_a_type_error_that_names_the_tool(
    function: Callable[..., Any], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        tool(**options)(function)


def test_an_async_function_is_one() -> None:
    @tool
    async def wait() -> int:
        """Wait."""
        await asyncio.sleep(0)
        return 1

    assert isinstance(wait, Tool)
    assert wait.is_async
    assert not search.is_async
