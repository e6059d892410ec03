"""``@tool``: a typed function with a docstring becomes something an agent's model may call.

Checked when it is made, so that a mistake is an error at import with the name of what is wrong, not a run that
fails at night.
"""

from __future__ import annotations

import functools
import inspect
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo

from interlock.beside import Beside
from interlock.contracts import LONGEST, Effect, OnUnknown, Retry, ToolSpec, explain

F = TypeVar("F", bound=Callable[..., Any])

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

_AT_MOST = f", and at most {LONGEST:,}"
"""What tools and agents may be called: what every provider takes for the name of a function."""


@dataclass(frozen=True)
class ToolContext:
    """What a tool may know of the call it serves, by a parameter annotated ``ToolContext``.

    idempotency_key  the same for every attempt of this call, different for every other call
    deadline         when the attempt is given up, UTC
    cancelled        set when the call is cancelled; a plain function that works long looks at it
    """

    idempotency_key: str
    run_id: str
    user_id: str
    agent: str
    call_id: str
    attempt: int
    deadline: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)
    cancelled: threading.Event = field(default_factory=threading.Event)


class AgentTool(ABC):
    """What an agent's model may call, wherever it comes from: a function, or an MCP server.

    is_async        ``invoke`` returns an awaitable; otherwise it may block, and runs in a thread
    predicate       asked whether a call needs a person's approval
    verify          asked whether a call of unknown fate took effect
    requires_fresh  tools whose results must still be valid when it acts"""

    name: str
    effect: Effect
    is_async: bool
    predicate: Beside | None = None
    verify: Beside | None = None
    requires_fresh: tuple[AgentTool, ...] = ()

    @property
    @abstractmethod
    def origin(self) -> str:
        """Where it comes from, for messages to people."""

    @property
    def defaults(self) -> Mapping[str, Any]:
        """What arguments are where a call does not say."""
        return {}

    @property
    def dependency(self) -> str:
        """What the fleet's breakers know it by."""
        return f"tool:{self.name}"

    @abstractmethod
    def spec(self) -> ToolSpec:
        """What a run records of it."""

    @abstractmethod
    def bind(self, arguments: str) -> dict[str, Any]:
        """What ``invoke`` takes, from the model's JSON text. Raises ``ValueError`` with one line."""

    @abstractmethod
    def invoke(self, arguments: dict[str, Any], context: ToolContext) -> Any:
        """One attempt of a call."""

    @abstractmethod
    def render(self, value: Any) -> str:
        """A result as the model is shown it."""


class Tool(AgentTool):
    """A function an agent's model may call. Made by ``@tool``; still callable as the function it was."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        effect: Effect = "write",
        timeout: float | None = None,
        retry: Retry | None = None,
        max_result_bytes: int = 65_536,
        name: str | None = None,
        valid_for: float | None = None,
        cache: bool = False,
        requires_fresh: Sequence[Tool] = (),
        approval: bool | Callable[..., Any] = False,
        approval_timeout: float | None = None,
        verify: Callable[..., Any] | None = None,
        on_unknown: OnUnknown | None = None,
    ) -> None:
        self.function = function
        self.name = name or str(getattr(function, "__name__", ""))
        self.effect: Effect = effect
        self.timeout = timeout
        self.retry = retry
        self.max_result_bytes = max_result_bytes
        self.valid_for = valid_for
        self.cache = cache
        self.requires_fresh: tuple[AgentTool, ...] = tuple(requires_fresh)
        self.approval_timeout = approval_timeout
        self.on_unknown: OnUnknown | None = on_unknown
        self.is_async = inspect.iscoroutinefunction(function)
        self._check()
        self._check_trust()
        signature, hints = inspect.signature(function), _hints(self.name, function)
        self.context_parameter = next((p for p in signature.parameters if _is_context(hints.get(p))), None)
        self.arguments = _arguments_model(self.name, signature, hints, skip=self.context_parameter)
        self.parameters = _schema(self.name, self.arguments)
        self.result = _result_type(self.name, hints.get("return", Any))
        self.description = inspect.cleandoc(function.__doc__ or "")
        self._defaults = {
            p.name: p.default
            for p in signature.parameters.values()
            if p.default is not p.empty and p.name != self.context_parameter
        }
        self.needs_approval = approval is True
        self.predicate = None if isinstance(approval, bool) else self._beside("approval", approval)
        self.verify = None if verify is None else self._beside("verify", verify)
        functools.update_wrapper(self, function)

    def _check(self) -> None:
        if not NAME.fullmatch(self.name):
            raise TypeError(f"tool name {self.name!r}: use 1 to 64 of A-Z a-z 0-9 _ -, or pass @tool(name=...)")
        if self.effect not in get_args(Effect):
            raise TypeError(f"tool {self.name}: effect {self.effect!r} is not one of {', '.join(get_args(Effect))}")
        if not (self.function.__doc__ or "").strip():
            raise TypeError(
                f"tool {self.name}: give it a docstring; it is what the model reads to decide when to call it"
            )
        if self.timeout is not None and not 0 < self.timeout <= LONGEST:
            raise TypeError(f"tool {self.name}: timeout {self.timeout!r} must be more than 0 seconds{_AT_MOST}")
        if self.max_result_bytes < 256:
            raise TypeError(f"tool {self.name}: max_result_bytes {self.max_result_bytes} must be at least 256")

    def _check_trust(self) -> None:
        if self.valid_for is not None and not 0 < self.valid_for <= LONGEST:
            raise TypeError(f"tool {self.name}: valid_for {self.valid_for!r} must be more than 0 seconds{_AT_MOST}")
        if self.cache and (self.valid_for is None or self.effect != "read"):
            raise TypeError(f'tool {self.name}: cache=True needs effect="read" and valid_for, its results\' window')
        if self.approval_timeout is not None and not 0 < self.approval_timeout <= LONGEST:
            said = f"approval_timeout {self.approval_timeout!r} must be more than 0 seconds{_AT_MOST}"
            raise TypeError(f"tool {self.name}: {said}")
        if self.on_unknown not in (None, *get_args(OnUnknown)):
            raise TypeError(f"tool {self.name}: on_unknown {self.on_unknown!r} is neither ask nor tell")
        for need in self.requires_fresh:
            if not isinstance(need, Tool):
                raise TypeError(f"tool {self.name}: requires_fresh has {need!r}, which is not a tool")
            if need.valid_for is None or need.effect == "write":
                raise TypeError(
                    f"tool {self.name}: requires_fresh names {need.name}, which must say valid_for and be no write: "
                    "its result is fetched again when it is past its window"
                )

    def _beside(self, role: str, function: object) -> Beside:
        known = {info.alias or name: info for name, info in self.arguments.model_fields.items()}
        what, context = f"tool {self.name}: its {role} function", None
        if role == "verify" and callable(function):  # a predicate is asked before there is a call to tell of
            hints = _hints(self.name, function)
            context = next((p for p in inspect.signature(function).parameters if _is_context(hints.get(p))), None)
        return Beside.of(what, function, known, context)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tool {self.name} ({self.effect})>"

    @property
    def defaults(self) -> Mapping[str, Any]:
        return self._defaults

    @property
    def origin(self) -> str:
        function = inspect.unwrap(self.function)
        return f"{function.__module__}.{function.__qualname__}"

    def spec(self) -> ToolSpec:
        return ToolSpec(
            name=self.name,
            description=self.description,
            parameters=self.parameters,
            effect=self.effect,
            timeout=self.timeout,
            retry=self.retry,
            max_result_bytes=self.max_result_bytes,
            valid_for=self.valid_for,
            cache=self.cache,
            requires_fresh=tuple(need.name for need in self.requires_fresh),
            approval="predicate" if self.predicate else "always" if self.needs_approval else None,
            approval_timeout=self.approval_timeout,
            verifies=self.verify is not None,
            on_unknown=self.on_unknown,
        )

    def bind(self, arguments: str) -> dict[str, Any]:
        """The function's keyword arguments from the model's JSON text.

        Raises ``ValueError`` with one line that names each argument that does not fit."""
        try:
            model = self.arguments.model_validate_json(arguments or "{}")
        except ValidationError as error:
            raise ValueError(explain(error, self.arguments)) from None
        return {
            (info.alias or name): getattr(model, name)
            for name, info in type(model).model_fields.items()
            if name in model.model_fields_set
        }

    def invoke(self, arguments: dict[str, Any], context: ToolContext) -> Any:
        if self.context_parameter is not None:
            arguments = {**arguments, self.context_parameter: context}
        return self.function(**arguments)

    def render(self, value: Any) -> str:
        """A result as the model is shown it: text as it is, anything else as JSON of the declared type."""
        if isinstance(value, str):
            return value
        return self.result.dump_json(value, by_alias=True, warnings="none").decode()


def _hints(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError, SyntaxError, AttributeError) as error:
        raise TypeError(f"tool {name}: an annotation of its signature cannot be read: {error}") from error


def _result_type(name: str, hint: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(hint)
    except PydanticUserError as error:
        raise TypeError(f"tool {name}: what it returns, {hint!r}, cannot be made JSON: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _is_context(hint: Any) -> bool:
    return hint is ToolContext or (get_origin(hint) is not None and ToolContext in get_args(hint))


def _arguments_model(
    name: str, signature: inspect.Signature, hints: dict[str, Any], skip: str | None
) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        if parameter.name == skip:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise TypeError(f"tool {name}: parameter {parameter} cannot be put in a schema; name each parameter")
        if parameter.name not in hints:
            raise TypeError(
                f"tool {name}: annotate parameter {parameter.name!r} with a type; the schema is made from it"
            )
        _check_parameter(name, parameter.name, hints[parameter.name])
        default = ... if parameter.default is parameter.empty else parameter.default
        # An underscore or a name such as "schema" would clash with BaseModel: the field goes by a safe name.
        info = Field(default, alias=parameter.name, description=_description(hints[parameter.name]))
        fields[f"p_{parameter.name}"] = (hints[parameter.name], info)
    try:
        return create_model(f"{name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)
    except Exception as error:
        raise TypeError(f"tool {name}: its signature cannot be made a schema: {error}") from error


def _check_parameter(name: str, parameter: str, hint: Any) -> None:
    try:
        TypeAdapter(hint).json_schema()
    except PydanticUserError as error:
        raise TypeError(
            f"tool {name}: parameter {parameter!r} cannot be put in a schema: {_first_line(error)}"
        ) from error


def _description(hint: Any) -> str | None:
    if get_origin(hint) is not Annotated:
        return None
    for extra in hint.__metadata__:
        if isinstance(extra, str):
            return extra
        if isinstance(extra, FieldInfo) and extra.description:
            return extra.description
        if isinstance(documentation := getattr(extra, "documentation", None), str):
            return documentation
    return None


def _schema(name: str, model: type[BaseModel]) -> dict[str, Any]:
    try:
        schema = model.model_json_schema(by_alias=True)
    except PydanticUserError as error:
        raise TypeError(f"tool {name}: its signature cannot be made a schema: {_first_line(error)}") from error
    schema.pop("title", None)
    for entry in schema.get("properties", {}).values():
        entry.pop("title", None)
    return {"type": "object", "properties": {}, **schema}


@overload
def tool(function: F, /) -> Tool: ...
@overload
def tool(
    *,
    effect: Effect = "write",
    timeout: float | None = None,
    retry: Retry | None = None,
    max_result_bytes: int = 65_536,
    name: str | None = None,
    valid_for: float | None = None,
    cache: bool = False,
    requires_fresh: Sequence[Tool] = (),
    approval: bool | Callable[..., Any] = False,
    approval_timeout: float | None = None,
    verify: Callable[..., Any] | None = None,
    on_unknown: OnUnknown | None = None,
) -> Callable[[F], Tool]: ...
def tool(function: Any = None, /, **options: Any) -> Any:
    """Make a function a tool of agents. The docstring and the signature become the tool's schema.

    effect            ``read`` (may be tried again), ``idempotent`` (tried again with the same
                      ``ToolContext.idempotency_key``) or ``write``, the default: at most once
    timeout           seconds for one attempt; never more than the run's ``step_seconds``
    retry             how patiently it is tried again; default: the agent's
    max_result_bytes  a longer result is cut, and says so
    valid_for         seconds for which a result is true; the model is shown its window
    cache             a result is used again for the same arguments, inside its window, in the run
    requires_fresh    tools whose results this one relies on: those past their window are fetched again just before
                      the call, and if they say something else it is not made and the model decides anew
    approval          a person decides: ``True``, or a function of the arguments that says whether
    approval_timeout  seconds the decision is waited for; default: the agent's
    verify            a function of the arguments and the ``ToolContext``: did the call with this key take effect?
                      ``True`` or its result, ``False``, or ``None``: it cannot tell
    on_unknown        where nobody can tell what became of a write: ``ask`` a person, or ``tell`` the model;
                      default: the agent's

    Plain functions run in threads, async ones on the worker's loop. Raise ``ToolError`` to tell the model
    something went wrong without another attempt."""
    if function is not None:
        return Tool(function)
    return functools.partial(Tool, **options)
