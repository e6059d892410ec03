"""What of a schema is not asked here, or asked otherwise: nothing takes for ever, and nothing that fits is refused."""

from __future__ import annotations

import time
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import Field

from activities.validation import misfit
from interlock.tools import tool


def schema(**of: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": of}}


@tool(effect="read")
def look(
    word: Annotated[str, Field(pattern=r"^\p{L}+$")] = "a",
    number: Annotated[str, Field(pattern=r"\A\d+\z")] = "1",
    letters: Annotated[str, Field(pattern="^[[:alpha:]]+$")] = "a",
    named: dict[Annotated[str, Field(pattern=r"^\p{L}+$")], int] | None = None,
    sized: dict[Annotated[str, Field(pattern=r"\Aa\z", min_length=1)], int] | None = None,
) -> str:
    """Look."""
    return word


@pytest.mark.parametrize(
    "arguments",
    [{"word": "é"}, {"number": "12"}, {"letters": "ab"}, {"named": {"é": 1}}, {"sized": {"a": 1}}],
    ids=lambda arguments: next(iter(arguments)),
)
def test_patterns_in_the_language_of_the_tool_refuse_nothing_that_fits(arguments: dict[str, Any]) -> None:
    assert misfit(look.parameters, arguments) is None


@pytest.mark.parametrize(
    ("keywords", "value"),
    [
        ({"pattern": r"^(\w+\s?)*$"}, "a" * 24 + "!"),
        ({"propertyNames": {"pattern": r"^(\w+\s?)*$"}}, {"a" * 24 + "!": 1}),
        ({"patternProperties": {r"^(\w+\s?)*$": {}}}, {"a" * 24 + "!": 1}),
        ({"patternProperties": {r"^(\w+\s?)*$": {}}, "additionalProperties": False}, {"a" * 24 + "!": 1}),
        ({"patternProperties": {r"^(\w+\s?)*$": {}}, "unevaluatedProperties": False}, {"a" * 24 + "!": 1}),
        ({"type": "array", "uniqueItems": True}, [n if n % 2 else str(n) for n in range(4000)]),
        ({"type": "array", "uniqueItems": True}, [{"n": n} for n in range(2000)]),
    ],
    ids=lambda each: "-".join(each) if isinstance(each, dict) else "",
)
def test_no_arguments_take_for_ever(keywords: dict[str, Any], value: Any) -> None:
    began = time.process_time()
    assert misfit(schema(**keywords), {"x": value}) is None
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "keywords",
    [
        {"oneOf": [{"pattern": "^a"}, {"pattern": "^b"}]},
        {"not": {"pattern": "^b"}},
        {"not": {"anyOf": [{"pattern": "^b"}, {"$ref": "#/$defs/c"}]}},
        {"if": {"pattern": "^b"}, "then": {"const": "b"}},
    ],
    ids=lambda keywords: next(iter(keywords)),
)
def test_what_is_not_asked_makes_no_other_keyword_refuse(keywords: dict[str, Any]) -> None:
    assert misfit({**schema(**keywords), "$defs": {"c": {"pattern": "^c"}}}, {"x": "a"}) is None


@pytest.mark.parametrize(
    ("keywords", "value"),
    [
        ({"oneOf": [{"type": "integer"}, {"minimum": 1}]}, 2),
        ({"not": {"type": "integer"}}, 2),
        ({"if": {"type": "integer"}, "then": {"minimum": 5}}, 2),
        ({"pattern": "^a", "maxLength": 3}, "aaaa"),
        ({"additionalProperties": False}, {"a": 1}),
        ({"propertyNames": {"maxLength": 3}}, {"aaaa": 1}),
        ({"oneOf": [{"pattern": "^a"}, {"type": "integer", "minimum": 5}], "type": "string"}, 2),
    ],
    ids=lambda each: "-".join(each) if isinstance(each, dict) else "",
)
def test_the_rest_is_asked_as_before(keywords: dict[str, Any], value: Any) -> None:
    assert misfit(schema(**keywords), {"x": value}) is not None


UNIQUE = {"type": "array", "uniqueItems": True}


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([1, 1.0], False),
        ([0, -0.0], False),
        ([10**300, 1e300], True),
        ([1, True, "1", 1.5, None, "null", [1], ["1"], {"a": 1}], True),
        ([0, False], True),
        ([[1], [True]], True),
        ([{"a": 1, "b": [2.0]}, {"b": [2], "a": 1.0}], False),
        ([{"a": 1}, {"a": True}], True),
        ([[], {}], True),
        (["é", "e\u0301"], True),
    ],
    ids=str,
)
def test_items_are_the_same_where_a_schema_says_so(items: list[Any], unique: bool) -> None:
    assert (misfit(schema(**UNIQUE), {"x": items}) is None) is unique
    assert Draft202012Validator(UNIQUE).is_valid(items) is unique


SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, -0.0, 1.0, 1.5, 2.0]) | st.text("1a")
ITEMS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=1), inner), max_leaves=4
)


@given(ITEMS, ITEMS)
def test_any_two_items_are_the_same_where_the_library_says_so(one: Any, other: Any) -> None:
    library = Draft202012Validator(UNIQUE).is_valid([one, other])
    assert (misfit(schema(**UNIQUE), {"x": [one, other]}) is None) is library
