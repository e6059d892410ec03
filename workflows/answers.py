"""What is said of a tool's call: to the model, when it has ended, and to people, in one line."""

from __future__ import annotations

import json

from interlock.contracts import CallPart, ToolMessage, ToolResult
from interlock.policies import approval
from workflows.run_state import Run

DESCRIBED = 400
"""Characters of a call that a person is asked about."""


def refused(run: Run, call: CallPart, why: str) -> ToolMessage:
    run.refused_calls += 1
    return answer(call, why, is_error=True)


def answer(call: CallPart, content: str, *, is_error: bool, result: ToolResult | None = None) -> ToolMessage:
    window = {} if result is None else {"observed_at": result.observed_at, "valid_until": result.valid_until}
    return ToolMessage(call_id=call.call_id, tool=call.tool, content=content, is_error=is_error, **window)


def describe(call: CallPart, most: int = 120) -> str:
    """A call in one line, as the Web UI shows it: ``search(pattern="ERROR")``."""
    try:
        arguments = json.loads(call.arguments or "{}")
        said = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())
    except (ValueError, AttributeError, RecursionError):
        said = call.arguments
    # Half a character fits no payload.
    line = f"{call.tool}({approval.visible(said)})".encode(errors="replace").decode()
    return line if len(line) <= most else f"{line[: most - 2]}…)"
