"""What every type on the wire is made of, and how what comes from outside is read."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

Complexity: TypeAlias = Literal["simple", "medium", "complex", "auto"]
Tier: TypeAlias = Literal["simple", "medium", "complex"]
Outcome: TypeAlias = Literal["completed", "degraded", "unavailable", "killed", "cancelled"]
Source: TypeAlias = Literal["model", "final_answer", "cache", "notice"]
Effect: TypeAlias = Literal["read", "idempotent", "write"]
State: TypeAlias = Literal["starting", "running", "paused", "waiting_approval", "waiting_breaker", "closed"]
Purpose: TypeAlias = Literal["step", "plan", "classify", "final"]
Window: TypeAlias = Literal["day", "month", "total"]
Rung: TypeAlias = Literal["final_answer", "cache", "notice"]
Finish: TypeAlias = Literal["stop", "tool_calls", "length", "content_filter", "other"]
OnUnknown: TypeAlias = Literal["ask", "tell"]
Verdict: TypeAlias = Literal["happened", "did_not_happen", "unknown"]
LimitName: TypeAlias = Literal["usd", "tokens", "seconds", "step_seconds", "steps", "tool_calls"]

LONGEST = 10**9
"""Seconds: some thirty years. No date that lies so far ahead overflows."""

MOST = 2**53
"""Of anything that is counted: a float still tells it from its neighbour."""

# No number from outside is so large, or so small, that reckoning with it fails: an error in the arithmetic of a
# workflow fails its task again and again, and it is deaf from then on.
Money: TypeAlias = Annotated[Decimal, Field(ge=0, le=10**12, decimal_places=18, allow_inf_nan=False)]
Rate: TypeAlias = Annotated[Decimal, Field(ge=0, le=10**6, decimal_places=18, allow_inf_nan=False)]
Count: TypeAlias = Annotated[int, Field(ge=0, le=MOST, strict=True)]
Few: TypeAlias = Annotated[Count, Field(le=1_000_000)]
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=LONGEST, allow_inf_nan=False)]

# What was reckoned, and not asked for: a provider may have billed more than anybody would allow.
Amount: TypeAlias = Annotated[Decimal, Field(ge=0, le=10**24, decimal_places=60, allow_inf_nan=False)]
Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Who: TypeAlias = Annotated[str, StringConstraints(max_length=200)]


def _indexable(text: str) -> str:
    """PostgreSQL takes no NUL, so a run with one would be in no list; the others would break lines of every log."""
    for place, character in enumerate(text):
        if unicodedata.category(character) == "Cc":
            raise ValueError(f"must have no control characters; {character!r} is at {place}")
    return text


Indexed: TypeAlias = Annotated[str, AfterValidator(_indexable)]
"""What the server's index is told as it stands."""

Json: TypeAlias = Any  # any JSON value; pydantic's JsonValue costs a recursive validation of every tool result


class Wire(BaseModel):
    """Base of what Interlock sends to itself: frozen; unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Asked(BaseModel):
    """Base of what is asked from outside: frozen; unknown fields are refused by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")


M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Unreadable:
    """Stands for a payload that is not what its header says, or that does not decrypt. Handlers count it and go on: an
    exception here would fail the workflow task for ever, and the run would hear neither signals nor a cancellation."""

    why: str


def unset(value: object) -> bool:
    """For fields that are left out of JSON where they say nothing."""
    return not value


def parse(model: type[M], value: object) -> M:
    """``value`` as ``model``. Raises ``ValueError`` with one line that names every field that is wrong."""
    if isinstance(value, Unreadable):
        raise ValueError(f"{model.__name__}: cannot be read: {value.why}")
    try:
        if isinstance(value, model):
            return value
        return model.model_validate_json(json.dumps(value)) if isinstance(value, dict) else model.model_validate(value)
    except ValidationError as error:
        raise ValueError(explain(error, model)) from None
    except (TypeError, RecursionError) as error:
        raise ValueError(f"{model.__name__}: {error}") from None


def parse_one(model: type[M], args: tuple[object, ...]) -> M:
    """The one argument of a signal, an update or a workflow, as ``model``. Raises ``ValueError`` with one line."""
    if len(args) != 1:
        raise ValueError(f"takes one JSON object; {len(args)} were given")
    return parse(model, args[0])


def explain(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """A validation error as one line: each field, what is wrong with it, and the fields there are, where ``model`` is
    known."""
    lines: list[str] = []
    known: dict[str, str] = {}
    for item in error.errors(include_url=False, include_context=False):
        field = ".".join(str(part) for part in item["loc"]) or "the object"
        if item["type"] == "extra_forbidden" and model is not None:
            known |= _known_fields(model, item["loc"][:-1])
        said = "unknown field" if item["type"] == "extra_forbidden" else item["msg"].removeprefix("Value error, ")
        value = repr(item["input"])
        shown = "" if item["type"] in ("missing", "extra_forbidden") else f" (got {value[:60]})"
        lines.append(f"{field}: {said}{shown}")
    return "; ".join([*lines, *(f"known fields{of}: {names or 'none'}" for of, names in known.items())])


def _known_fields(model: type[BaseModel], path: tuple[int | str, ...]) -> dict[str, str]:
    """The fields of what stands at ``path`` in a ``model``, under whose they are; nothing where it has no fields."""
    for name in (each for each in path if isinstance(each, str)):
        kind = model.model_fields[name].annotation if name in model.model_fields else None
        within = (each for each in (kind, *get_args(kind)) if isinstance(each, type) and issubclass(each, BaseModel))
        if (found := next(within, None)) is None:
            return {}
        model = found
    of = f" of {'.'.join(map(str, path))}" if path else ""
    return {of: ", ".join(info.alias or name for name, info in model.model_fields.items())}
