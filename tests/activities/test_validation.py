"""Arguments of calls as a model may write them: a message to the model or nothing, and never an exception."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.validation import problem
from interlock.contracts import AgentSpec, CallPart, Models, ToolSpec
from interlock.tools import tool


@tool(effect="read")
def find(text: str, limit: int = 10, ratio: float = 1.0, anything: dict[str, Any] | None = None) -> str:
    """Find text."""
    return text


SPEC = AgentSpec(name="a", instructions="", models=Models.one("scripted:x"), tools=(find.spec(),))


def said(arguments: str, name: str = "find", spec: AgentSpec = SPEC) -> str | None:
    return problem(CallPart(call_id="s1c1", tool=name, arguments=arguments), spec)


def deep(levels: int) -> str:
    return '{"text": "x", "anything": ' + '{"a":' * levels + "1" + "}" * levels + "}"


@pytest.mark.parametrize(
    "arguments",
    [
        '{"text": "x"}',
        ' {"text": "nul \\u0000 and \\ud83d\\ude00", "limit": 3, "ratio": 2} ',
        f'{{"text": "x", "limit": {10**300}}}',
        '{"text": "x", "anything": null}',
        deep(90),
    ],
    ids=lambda value: value[:40],
)
def test_what_fits_is_run(arguments: str) -> None:
    assert said(arguments) is None
    assert find.bind(arguments)["text"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("", "'text' is a required property"),
        ("null", "None is not of type 'object'"),
        ("[]", "is not of type 'object'"),
        ('"text"', "is not of type 'object'"),
        ('{"text": "x"', "not JSON"),
        ("{text: x}", "not JSON"),
        ('{"text": "x"} and more', "not JSON"),
        ('{"text": "\x00"}', "not JSON"),
        ('{"text": 5}', "text: 5 is not of type 'string'"),
        ('{"text": "x", "limit": "5"}', "limit: '5' is not of type 'integer'"),
        ('{"text": "x", "limit": 1.5}', "limit: 1.5 is not of type 'integer'"),
        ('{"text": "x", "more": 1}', "'more' was unexpected"),
        ('{"text": "x", "ratio": NaN}', "NaN is not a JSON number"),
        ('{"text": "x", "ratio": -Infinity}', "-Infinity is not a JSON number"),
        ('{"text": "x", "ratio": 1e999}', "too large"),
        ('{"text": "x", "limit": ' + "9" * 5000 + "}", "not JSON"),
        ('{"text": "x", "text": "y"}', "'text' is given twice"),
        ('{"text": "\\ud800"}', "surrogate"),
        ('{"text": "x", "anything": {"\\udfff": 1}}', "surrogate"),
        (deep(101), "nested more than 100 deep"),
        (deep(950), "nested more than 100 deep"),
        (deep(100_000), "nested more than 100 deep"),
        ("[" * 100_000, "nested more than 100 deep"),
    ],
    ids=lambda value: ascii(value[:40]),
)
def test_what_does_not_fit_is_told_in_a_line_and_nothing_runs(arguments: str, why: str) -> None:
    text = said(arguments)
    assert text is not None
    assert text.startswith("ToolArgumentsInvalid: ")
    assert text.endswith("Nothing was run.")
    assert why in text
    assert len(text) < 2000
    text.encode()


def test_a_tool_there_is_not_is_answered_with_those_there_are() -> None:
    text = said("{}", name="f\udc00nd" * 1000)
    assert text is not None
    assert text.startswith("UnknownTool: ")
    assert text.endswith("Tools you may call: find.")
    assert len(text.encode()) < 2000


def test_many_mistakes_make_a_short_message() -> None:
    spec = SPEC.model_copy(update={"tools": (ToolSpec(name="many", description="", parameters=LIST),)})
    text = said(json.dumps({"all": ["x" * 1000] * 20_000}), "many", spec)
    assert text is not None
    assert len(text) < 2000


LIST = {"type": "object", "properties": {"all": {"type": "array", "items": {"type": "integer"}}}}


def test_a_schema_that_cannot_be_applied_is_told_and_nothing_is_lost() -> None:
    broken = ToolSpec(name="bad", description="", parameters={"$ref": "#/$defs/nowhere"})
    text = said("{}", "bad", SPEC.model_copy(update={"tools": (broken,)}))
    assert text is not None
    assert "the schema of bad cannot be applied" in text


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.characters(codec=None, categories=None)) | st.binary().map(repr))
def test_any_text_gets_an_answer(arguments: str) -> None:
    text = said(arguments)
    assert text is None or "Nothing was run" in text
