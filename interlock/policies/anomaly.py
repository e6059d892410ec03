"""When a run behaves as no run should, Interlock ends it: a kill with a reason."""

from __future__ import annotations

from interlock.contracts import Limits


def too_many_calls(limits: Limits, made: int, asked: int) -> str | None:
    """Why a run that has made ``made`` tool calls and asks for ``asked`` more must end; ``None``: it need not."""
    if limits.tool_calls is not None and made + asked > limits.tool_calls:
        return f"more than {limits.tool_calls} tool calls"
    return None
