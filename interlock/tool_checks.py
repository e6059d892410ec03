"""What the options of ``@tool`` may be, checked when a tool is made. Each mistake names the tool and what is wrong."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, get_args

from interlock.agent_tools import NAME
from interlock.contracts import LONGEST, Effect, OnUnknown

if TYPE_CHECKING:
    from interlock.tools import Tool

_AT_MOST = f", and at most {LONGEST:,}"


def check(tool: Tool) -> None:
    """Raises ``TypeError`` for the first option that does not fit."""
    for name in ("timeout", "valid_for", "approval_timeout", "max_result_bytes"):
        if not isinstance(value := getattr(tool, name), int | float | None):
            raise TypeError(f"tool {tool.name}: {name} {value!r} is not a number")
    _check_call(tool)
    _check_trust(tool)


def _check_call(tool: Tool) -> None:
    if not NAME.fullmatch(tool.name):
        raise TypeError(f"tool name {tool.name!r}: use 1 to 64 of A-Z a-z 0-9 _ -, or pass @tool(name=...)")
    if tool.effect not in get_args(Effect):
        raise TypeError(f"tool {tool.name}: effect {tool.effect!r} is not one of {', '.join(get_args(Effect))}")
    if inspect.isasyncgenfunction(tool.function):
        raise TypeError(f"tool {tool.name}: an async function that yields has no result; return a list")
    if not (tool.function.__doc__ or "").strip():
        raise TypeError(f"tool {tool.name}: give it a docstring; it is what the model reads to decide when to call it")
    if tool.timeout is not None and not 0 < tool.timeout <= LONGEST:
        raise TypeError(f"tool {tool.name}: timeout {tool.timeout!r} must be more than 0 seconds{_AT_MOST}")
    if tool.max_result_bytes < 256:
        raise TypeError(f"tool {tool.name}: max_result_bytes {tool.max_result_bytes} must be at least 256")


def _check_trust(tool: Tool) -> None:
    if tool.valid_for is not None and not 0 < tool.valid_for <= LONGEST:
        raise TypeError(f"tool {tool.name}: valid_for {tool.valid_for!r} must be more than 0 seconds{_AT_MOST}")
    if tool.cache and (tool.valid_for is None or tool.effect != "read"):
        raise TypeError(f'tool {tool.name}: cache=True needs effect="read" and valid_for, its results\' window')
    if tool.approval_timeout is not None and not 0 < tool.approval_timeout <= LONGEST:
        said = f"approval_timeout {tool.approval_timeout!r} must be more than 0 seconds{_AT_MOST}"
        raise TypeError(f"tool {tool.name}: {said}")
    if tool.on_unknown not in (None, *get_args(OnUnknown)):
        raise TypeError(f"tool {tool.name}: on_unknown {tool.on_unknown!r} is neither ask nor tell")
