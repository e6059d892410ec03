"""Schemas of a server that is not trusted: nothing in one may fetch, hang, or fill the worker that applies it.

What could is taken out where that only makes the schema laxer (the server checks its arguments itself), and the tool
is refused where it would make no sense without it.
"""

from __future__ import annotations

import json
from typing import Any

from jsonschema import Draft202012Validator, SchemaError

from activities.validation import misfit

MOST_BYTES = 32 * 1024

_BY_NAME = {"properties", "$defs", "definitions", "dependentSchemas"}
_LISTS = {"allOf", "anyOf", "oneOf", "prefixItems"}
_SCHEMAS = {"items", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else"}
# Regular expressions that take for ever can be written; the other keywords look up references on their own.
_TAKEN_OUT = {
    "pattern",
    "patternProperties",
    "unevaluatedProperties",
    "unevaluatedItems",
    "$id",
    "$schema",
    "$dynamicAnchor",
}


def tamed(schema: Any) -> dict[str, Any]:
    """A schema that may be applied, and recorded with every run. Raises ``ValueError`` with what is wrong."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise ValueError("its schema is not of an object")
    if (size := len(json.dumps(schema).encode())) > MOST_BYTES:
        raise ValueError(f"its schema is {size} bytes long; {MOST_BYTES} are the most")
    result = _tamed(schema)
    try:
        Draft202012Validator.check_schema(result)
        misfit(result, {})
    except SchemaError as error:
        raise ValueError(f"its schema is no JSON schema: {error.message[:200]}") from None
    except Exception as error:  # noqa: BLE001  # whatever a schema can raise, it is the schema that is refused
        raise ValueError(f"its schema cannot be applied: {type(error).__name__}: {str(error)[:200]}") from None
    return {"properties": {}, **result}


def _tamed(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    for reference in ("$ref", "$dynamicRef"):
        if reference in schema and (reference != "$ref" or not str(schema[reference]).startswith("#")):
            raise ValueError(f"its schema refers to something outside of it: {str(schema[reference])[:100]!r}")
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _TAKEN_OUT:
            continue
        if key in _BY_NAME and isinstance(value, dict):
            found[key] = {name: _tamed(each) for name, each in value.items()}
        elif key in _LISTS and isinstance(value, list):
            found[key] = [_tamed(each) for each in value]
        elif key in _SCHEMAS:
            found[key] = _tamed(value)
        else:
            found[key] = value
    if "patternProperties" in schema:
        found.pop("additionalProperties", None)  # it speaks of what the patterns leave over
    return found
