"""The signature of a tool's function, as what the model is told and what its arguments are checked against.

Each mistake is a ``TypeError`` that names the tool, and the parameter where it is one of those.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Optional, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo

from interlock.agent_tools import ToolContext


def hints_of(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError, SyntaxError, AttributeError) as error:
        raise TypeError(f"tool {name}: an annotation of its signature cannot be read: {error}") from error


def result_type(name: str, hint: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(hint)
    except PydanticUserError as error:
        raise TypeError(f"tool {name}: what it returns, {hint!r}, cannot be made JSON: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def context_parameter(signature: inspect.Signature, hints: dict[str, Any]) -> str | None:
    """The parameter that takes the ``ToolContext``, which the model knows nothing of."""
    return next((name for name in signature.parameters if _is_context(hints.get(name))), None)


def _is_context(hint: Any) -> bool:
    return hint is ToolContext or (get_origin(hint) is not None and ToolContext in get_args(hint))


def arguments_model(
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
        _check_parameter(name, parameter, hints[parameter.name])
        default = ... if parameter.default is parameter.empty else parameter.default
        # An underscore or a name such as "schema" would clash with BaseModel: the field goes by a safe name.
        info = Field(default, alias=parameter.name, description=_description(hints[parameter.name]))
        # `count: int = None` means that None may be given, and a model gives what the schema calls the default.
        hint = hints[parameter.name]
        if default is None:
            hint = Optional[hint]  # noqa: UP045  # not every hint knows `|`
        fields[f"p_{parameter.name}"] = (hint, info)
    try:
        return create_model(f"{name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)
    except Exception as error:
        raise TypeError(f"tool {name}: its signature cannot be made a schema: {error}") from error


def _check_parameter(name: str, parameter: inspect.Parameter, hint: Any) -> None:
    in_hint = any(
        isinstance(extra, FieldInfo) and not extra.is_required() for extra in getattr(hint, "__metadata__", ())
    )
    if in_hint or isinstance(parameter.default, FieldInfo):
        # Whoever calls the function without it would be given something else than whoever leaves it out of a call.
        raise TypeError(
            f"tool {name}: parameter {parameter.name!r} has its default in a Field(...); write the default behind the "
            f"annotation, and what the Field says of it inside: {parameter.name}: Annotated[int, Field(ge=1)] = 5"
        )
    try:
        TypeAdapter(hint).json_schema()
    except PydanticUserError as error:
        raise TypeError(
            f"tool {name}: parameter {parameter.name!r} cannot be put in a schema: {_first_line(error)}"
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


def schema_of(name: str, model: type[BaseModel]) -> dict[str, Any]:
    try:
        schema = model.model_json_schema(by_alias=True)
    except PydanticUserError as error:
        raise TypeError(f"tool {name}: its signature cannot be made a schema: {_first_line(error)}") from error
    schema.pop("title", None)
    for entry in schema.get("properties", {}).values():
        entry.pop("title", None)
    return {"type": "object", "properties": {}, **schema}
