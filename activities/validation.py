"""Arguments of tool calls against the schemas that the run recorded, before anything runs.

Done where the reply arrives, so that the verdict is in history: a newer validator never changes a replay.
"""

from __future__ import annotations

import json

from jsonschema import Draft202012Validator

from interlock.contracts import AgentSpec, AssistantMessage, CallPart


def problems(message: AssistantMessage, spec: AgentSpec) -> dict[str, str]:
    """Calls of a reply that must not run: call id -> what to tell the model."""
    found = {part.call_id: problem(part, spec) for part in message.calls}
    return {call_id: text for call_id, text in found.items() if text is not None}


def problem(call: CallPart, spec: AgentSpec) -> str | None:
    """What is wrong with a call, as a message to the model; ``None``: nothing."""
    tool = spec.tool(call.tool)
    if tool is None:
        known = ", ".join(each.name for each in spec.tools) or "none"
        return f"UnknownTool: there is no tool named {call.tool!r}. Tools you may call: {known}."
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError) as error:
        return f"ToolArgumentsInvalid: the arguments of {call.tool} are not JSON: {error}. Nothing was run."
    errors = sorted(
        Draft202012Validator(tool.parameters).iter_errors(arguments), key=lambda error: list(map(str, error.path))
    )
    if not errors:
        return None
    said = "; ".join(f"{'.'.join(map(str, error.path)) or 'arguments'}: {error.message[:200]}" for error in errors[:5])
    return f"ToolArgumentsInvalid: the arguments of {call.tool} do not fit its schema: {said}. Nothing was run."
