"""The keywords of a JSON schema, as calls are checked against it: none of them takes for ever, on any arguments.

Regular expressions are left out, and what looks properties up by them. Python's may take for ever, and are not the
language of a tool's own: ``\\p{L}`` and ``\\z``, which pydantic takes, are mistakes here. A tool checks them itself
before it runs, and a server of tools does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

MOST_REFERENCES = 20_000
"""How many references of a schema are followed for one call."""

Keyword: TypeAlias = Callable[[Validator, Any, Any, dict[str, Any]], Iterator[ValidationError]]


@dataclass
class Applied:
    """What has been done of a schema for one call."""

    references: int = 0
    left_out: int = 0


applied: ContextVar[Applied] = ContextVar("applied")


def _bounded_reference(
    validator: Validator, reference: str, instance: Any, schema: dict[str, Any]
) -> Iterator[ValidationError]:
    """Parts that each refer twice to the next double the work at every step: 40 of them would take for ever."""
    applied.get().references += 1
    if applied.get().references > MOST_REFERENCES:
        raise RecursionError(f"more than {MOST_REFERENCES} references followed")
    yield from _known("$ref")(validator, reference, instance, schema)


def _left_out(kind: str) -> Keyword:
    """Of instances of this kind; the keyword says nothing of others."""

    def passed(validator: Validator, value: Any, instance: Any, schema: dict[str, Any]) -> Iterator[ValidationError]:
        applied.get().left_out += validator.is_type(instance, kind)
        yield from ()

    return passed


def _additional(validator: Validator, value: Any, instance: Any, schema: dict[str, Any]) -> Iterator[ValidationError]:
    """What patterns leave over is not known either."""
    keyword = _left_out("object") if "patternProperties" in schema else _known("additionalProperties")
    yield from keyword(validator, value, instance, schema)


def _unless_left_out(name: str) -> Keyword:
    """These may refuse something because it fits another schema: they say nothing where that was not fully asked."""

    def checked(validator: Validator, value: Any, instance: Any, schema: dict[str, Any]) -> Iterator[ValidationError]:
        before = applied.get().left_out
        errors = list(_known(name)(validator, value, instance, schema))
        if applied.get().left_out == before:
            yield from errors

    return checked


def _unique(validator: Validator, value: Any, instance: Any, schema: dict[str, Any]) -> Iterator[ValidationError]:
    """The library compares each with each where items cannot be sorted: four thousand take ten seconds."""
    if not value or not validator.is_type(instance, "array"):
        return
    if len({json.dumps(_plain(item), sort_keys=True) for item in instance}) < len(instance):
        yield ValidationError(f"{instance!r} has non-unique elements")


def _plain(value: Any) -> Any:
    """The same for what a schema takes for equal: 1 and 1.0 are, and neither is true."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_plain(each) for each in value]
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case _:
            return value


def _known(name: str) -> Keyword:
    keyword: Keyword = Draft202012Validator.VALIDATORS[name]
    return keyword


BoundedValidator: type[Validator] = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        "$ref": _bounded_reference,
        "pattern": _left_out("string"),
        "patternProperties": _left_out("object"),
        "unevaluatedProperties": _left_out("object"),
        "additionalProperties": _additional,
        "uniqueItems": _unique,
        **{name: _unless_left_out(name) for name in ("not", "oneOf", "if", "contains")},
    },
)
