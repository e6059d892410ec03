"""Arguments of tool calls against the schemas that the run recorded, before anything runs.

Done where the reply arrives, so that the verdict is in history: a newer validator never changes a replay.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from itertools import islice
from typing import Any

from jsonschema.protocols import Validator
from referencing import Registry

from activities.keywords import Applied, BoundedValidator, applied
from interlock.contracts import AgentSpec, AssistantMessage, CallPart

DEEPEST = 100
"""How deep arguments may nest. Every reader after this one recurses: pydantic to 200, Python to about 1000."""


def problems(message: AssistantMessage, spec: AgentSpec) -> dict[str, str]:
    """Calls of a reply that must not run: call id -> what to tell the model."""
    found = {part.call_id: problem(part, spec) for part in message.calls}
    return {call_id: text for call_id, text in found.items() if text is not None}


def problem(call: CallPart, spec: AgentSpec) -> str | None:
    """What is wrong with a call, as a message to the model; ``None``: nothing."""
    tool = spec.tool(call.tool)
    if tool is None:
        known = ", ".join(each.name for each in spec.tools) or "none"
        return f"UnknownTool: there is no tool named {call.tool[:100]!r}. Tools you may call: {known}."
    try:
        arguments = read_arguments(call.arguments)
    except ValueError as error:
        return f"ToolArgumentsInvalid: the arguments of {call.tool} are not JSON: {error}. Nothing was run."
    try:
        said = misfit(tool.parameters, arguments)
    except Exception as error:  # noqa: BLE001 - a schema that cannot be applied; the reply is paid for all the same
        said = f"the schema of {call.tool} cannot be applied: {type(error).__name__}"
        return f"ToolArgumentsInvalid: {said}. Nothing was run."
    if said is None:
        return None
    return f"ToolArgumentsInvalid: the arguments of {call.tool} do not fit its schema: {said}. Nothing was run."


def misfit(schema: dict[str, Any], arguments: Any) -> str | None:
    """How arguments do not fit a schema, in a line. Raises whatever a schema raises that cannot be applied."""
    applied.set(Applied())
    errors = list(islice(_validator(json.dumps(schema)).iter_errors(arguments), 5))
    if not errors:
        return None
    return "; ".join(
        f"{'.'.join(map(str, error.path))[:200] or 'arguments'}: {error.message[:200]}"
        for error in sorted(errors, key=lambda error: list(map(str, error.path)))
    )


@lru_cache(maxsize=256)
def _validator(schema: str) -> Validator:
    """Of a tool that is called again and again. Making one takes several times as long as asking it."""
    # An empty registry: otherwise a schema that refers to an address makes this worker fetch it.
    return BoundedValidator(json.loads(schema), registry=Registry())


def read_arguments(text: str) -> Any:
    """A call's arguments. Raises ``ValueError``, in a line, for what another reader could take for something else
    or choke on: NaN, a name given twice, half a character, deep nesting. Nothing is an empty object."""
    try:
        value = json.loads(
            text or "{}", parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_without_repeats
        )
    except RecursionError:
        raise ValueError(f"nested more than {DEEPEST} deep") from None
    _check(value)
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:40]} is too large for a number")
    return number


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:100]!a} is given twice")
    return found


def _check(value: Any) -> None:
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        each, depth = waiting.pop()
        if depth > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} deep")
        match each:
            case str() if not each.isascii() and any("\ud800" <= character <= "\udfff" for character in each):
                raise ValueError(f"{each[:40]!a} holds half a surrogate pair, which is no character")
            case dict():
                waiting += ((part, depth + 1) for pair in each.items() for part in pair)
            case list():
                waiting += ((part, depth + 1) for part in each)
            case _:
                pass
