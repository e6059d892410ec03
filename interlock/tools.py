"""``@tool``: a typed function with a docstring becomes something an agent's model may call.

Checked when it is made, so that a mistake is an error at import with the name of what is wrong, not a run that
fails at night.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, overload

from pydantic import ValidationError

from interlock.agent_tools import AgentTool, ToolContext
from interlock.beside import Beside
from interlock.contracts import Effect, OnUnknown, Retry, ToolSpec, explain
from interlock.signatures import arguments_model, context_parameter, hints_of, result_type, schema_of
from interlock.tool_checks import check

F = TypeVar("F", bound=Callable[..., Any])


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
        check(self)
        self._check_fresh()
        signature, hints = inspect.signature(function), hints_of(self.name, function)
        self.context_parameter = context_parameter(signature, hints)
        self.arguments = arguments_model(self.name, signature, hints, skip=self.context_parameter)
        self.parameters = schema_of(self.name, self.arguments)
        self.result = result_type(self.name, hints.get("return", Any))
        self.description = inspect.cleandoc(function.__doc__ or "")
        self._defaults = {
            p.name: p.default
            for p in signature.parameters.values()
            if p.default is not p.empty and p.name != self.context_parameter
        }
        self.needs_approval = approval is True
        self.predicate = None if isinstance(approval, bool) else self._beside("approval", approval)
        self.verify = None if verify is None else self._beside("verify", verify)
        try:
            self.spec()  # what else does not fit what a run records of it
        except ValidationError as error:
            raise TypeError(f"tool {self.name}: {explain(error, ToolSpec)}") from None
        functools.update_wrapper(self, function)

    def _check_fresh(self) -> None:
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
            context = context_parameter(inspect.signature(function), hints_of(self.name, function))
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
