"""Functions beside a tool, which are asked about its calls: may this one be made, did that one take effect?

Such a function takes those of the tool's arguments that it names, and a ``ToolContext`` where it wants one.
Checked when the tool is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Beside:
    """``names``: the tool's arguments it is given; ``context_parameter``: where it is told of the call."""

    function: Callable[..., Any]
    names: tuple[str, ...]
    context_parameter: str | None
    is_async: bool

    @classmethod
    def of(cls, what: str, function: object, known: Mapping[str, Any], context_parameter: str | None) -> Beside:
        """Raises ``TypeError``, saying ``what`` it is, for one that cannot be called with the ``known`` arguments."""
        if not callable(function):
            raise TypeError(f"{what} {function!r} must be a function")
        names: list[str] = []
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                names = [*names, *(name for name in known if name not in names)]
            elif parameter.name == context_parameter:
                continue
            elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
                raise TypeError(f"{what} takes {parameter}; it is given arguments by their names")
            elif parameter.name in known:
                names.append(parameter.name)
            elif parameter.default is parameter.empty:
                told = ", ".join(known) or "none"
                raise TypeError(f"{what} takes {parameter.name!r}, which is no argument of the tool; those are: {told}")
        return cls(function, tuple(names), context_parameter, inspect.iscoroutinefunction(function))

    def invoke(self, arguments: Mapping[str, Any], context: object) -> Any:
        """Ask it about a call with these arguments, defaults included."""
        return self.function(**self.arguments(arguments, context))

    def arguments(self, given: Mapping[str, Any], context: object = None) -> dict[str, Any]:
        """Its keyword arguments, from those of a call, defaults included."""
        chosen = {name: given[name] for name in self.names if name in given}
        return chosen if self.context_parameter is None else {**chosen, self.context_parameter: context}
