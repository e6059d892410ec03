"""What flags accept: those that every command has, and the limits of a run or an account."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar

from cyclopts import Parameter, Token

if TYPE_CHECKING:
    from pydantic import BaseModel

Output: TypeAlias = Literal["text", "json"]
RunId: TypeAlias = Annotated[str, Parameter(help="The run's id.")]
Reason: TypeAlias = Annotated[str, Parameter(show_default=False, help="Why, for whoever reads the history.")]
TaskQueue: TypeAlias = Annotated[
    str | None,
    Parameter(name=("--task-queue", "-t"), help="The queue that workers poll (INTERLOCK_TASK_QUEUE, or interlock)."),
]
AccountName: TypeAlias = Annotated[
    str, Parameter(name="ACCOUNT", help="The account's name, such as user:ada, agent:analyst or fleet.")
]
M = TypeVar("M", bound="BaseModel")


class Misused(Exception):
    """The command line asks for what cannot be; the text names the flag or argument. Exit code 2."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common:
    """What every command accepts."""

    address: Annotated[str | None, Parameter(help="Host and port of the server (TEMPORAL_ADDRESS).")] = None
    namespace: Annotated[
        str | None, Parameter(name=("--namespace", "-n"), help="Temporal namespace (TEMPORAL_NAMESPACE).")
    ] = None
    output: Annotated[Output, Parameter(name=("--output", "-o"), help="How to write the answer.")] = "text"
    json_: Annotated[
        bool, Parameter(name="--json", negative="", show_default=False, help="The same as --output json.")
    ] = False

    @property
    def json(self) -> bool:
        return self.json_ or self.output == "json"

    def apply(self) -> None:
        """Put what was said here in the place of this process's environment."""
        for name, value in (("TEMPORAL_ADDRESS", self.address), ("TEMPORAL_NAMESPACE", self.namespace)):
            if value is not None:
                os.environ[name] = value

    def flags(self) -> tuple[str, ...]:
        """What a command that people copy needs, to reach the same server."""
        given = (("--address", self.address), ("--namespace", self.namespace))
        return tuple(part for flag, value in given if value is not None for part in (flag, value))


def _of(pattern: str, read: Callable[[str], Any], what: str, least: float = 0) -> Parameter:
    """A parameter read from plain figures: no NaN, no exponent, no rounding of what cannot be counted in parts."""

    def convert(_: Any, tokens: Sequence[Token]) -> Any:
        text = tokens[0].value
        value = read(text) if re.fullmatch(pattern, text, re.ASCII) and len(text) <= 18 else None
        if value is None or value < least or not math.isfinite(value):
            raise ValueError(f"{text!r} is not {what}")
        return value

    return Parameter(converter=convert)


_DECIMAL = r"\d+(\.\d*)?|\.\d+"

_DOLLARS = _of(_DECIMAL, Decimal, "an amount of dollars, 0 or more, such as 0.50")

Usd: TypeAlias = Annotated[Decimal | None, _DOLLARS, Parameter(help="Most dollars the run may spend.")]
Allowance: TypeAlias = Annotated[
    Decimal, _DOLLARS, Parameter(help="Most dollars that all its runs together may spend in one window.")
]
Tokens: TypeAlias = Annotated[
    int | None, _of(r"\d+", int, "a whole number, 0 or more"), Parameter(help="Most tokens, input and output together.")
]
Seconds: TypeAlias = Annotated[
    float | None,
    _of(_DECIMAL, float, "a number of seconds above 0", 1e-9),
    Parameter(help="Most seconds of work; waiting for people does not count."),
]
Steps: TypeAlias = Annotated[
    int | None, _of(r"\d+", int, "a whole number, 1 or more", 1), Parameter(help="Most turns with the model.")
]
ToolCalls: TypeAlias = Annotated[
    int | None,
    _of(r"\d+", int, "a whole number, 0 or more"),
    Parameter(help="Most calls of tools; a run that wants more is killed."),
]

Failures: TypeAlias = Annotated[int | None, _of(r"\d+", int, "a whole number, 1 or more", 1)]
Slices: TypeAlias = Annotated[int | None, _of(r"\d+", int, "a whole number from 1 to 100", 1)]
Span: TypeAlias = Annotated[float | None, _of(_DECIMAL, float, "a number of seconds above 0", 1e-9)]
Rate: TypeAlias = Annotated[float | None, _of(_DECIMAL, float, "a share above 0, up to 1, such as 0.5", 1e-9)]
Factor: TypeAlias = Annotated[float | None, _of(_DECIMAL, float, "a number, 1 or more", 1)]
Priority: TypeAlias = Annotated[
    int,
    _of("[1-5]", int, "a priority, 1 (first) to 5 (last)"),
    Parameter(help="Where runs wait for a worker, 1 goes before 5; those of one priority take turns by user."),
]

_FLAGS = {
    "user_id": "--user",
    "agent": "AGENT",
    "input": "INPUT",
    "message": "MESSAGE",
    "reason": "--reason",
    "name": "ACCOUNT",
    "subject": "--user",
    "dependency": "DEPENDENCY",
}


def valid(model: type[M], **fields: Any) -> M:
    """``fields`` as ``model``. Raises ``Misused`` with one line that names each flag that is wrong."""
    from pydantic import ValidationError

    try:
        return model(**fields)
    except ValidationError as error:
        wrong = (f"{_flag(item['loc'])}: {_why(item['type'], item['msg'])}" for item in error.errors())
        raise Misused("; ".join(wrong)) from None


def _why(kind: str, message: str) -> str:
    return "it must not be empty" if kind in ("string_too_short", "too_short") else message


def _flag(path: tuple[int | str, ...]) -> str:
    name = str(path[-1]) if path else "the command"
    return _FLAGS.get(name, f"--{name.replace('_', '-')}")
