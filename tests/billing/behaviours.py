"""Ready-made behaviours, and their form in JSON for a server that runs as its own process."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.billing import Behaviour, Reply, Request


def always(reply: Reply) -> Behaviour:
    return lambda request, n: reply


def script(replies: Sequence[Reply]) -> Behaviour:
    """The reply for each turn of a conversation: a retried request gets the same reply, however often it is sent."""

    def behaviour(request: Request, n: int) -> Reply:
        if request.turns >= len(replies):
            raise LookupError(f"the script has {len(replies)} replies and the conversation {request.turns} turns")
        return replies[request.turns]

    return behaviour


def sequence(replies: Sequence[Reply]) -> Behaviour:
    """The reply for each request in the order of arrival, whichever conversation it belongs to."""

    def behaviour(request: Request, n: int) -> Reply:
        if n >= len(replies):
            raise LookupError(f"the sequence has {len(replies)} replies and this is request {n}")
        return replies[n]

    return behaviour


def tool_loop(
    tool: str,
    times: int,
    arguments: Callable[[int], Mapping[str, Any] | str] = lambda turn: {},
    final: str = "done",
) -> Behaviour:
    """Call the tool in each of the first `times` turns, with the arguments for that turn, then answer `final`."""

    def behaviour(request: Request, n: int) -> Reply:
        turn = request.turns
        return Reply(tool_calls=[(tool, arguments(turn))]) if turn < times else Reply(text=final)

    return behaviour


def failing(status: int, times: int, then: Behaviour | Reply, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Answer the first `times` requests with the status; `then` counts its requests from the first that it sees."""
    after = always(then) if isinstance(then, Reply) else then

    async def behaviour(request: Request, n: int) -> Reply:
        if n < times:
            return Reply(status=status, headers=headers or {})
        reply = after(request, n - times)
        return await reply if inspect.isawaitable(reply) else reply

    return behaviour


def from_json(plan: Mapping[str, Any]) -> Behaviour:
    """A behaviour from its JSON form: the function's name under "behaviour" and its parameters under their names.

    Replies are objects with the fields of `Reply`. The `arguments` of a tool loop are one object for every turn, or
    a list with one for each turn.
    """
    match plan:
        case {"behaviour": "always", "reply": reply}:
            return always(_reply(reply))
        case {"behaviour": "script", "replies": replies}:
            return script([_reply(reply) for reply in replies])
        case {"behaviour": "sequence", "replies": replies}:
            return sequence([_reply(reply) for reply in replies])
        case {"behaviour": "tool_loop", "tool": tool, "times": times}:
            given = plan.get("arguments", {})
            return tool_loop(
                tool,
                times,
                lambda turn: given[turn] if isinstance(given, list) else given,
                plan.get("final", "done"),
            )
        case {"behaviour": "failing", "status": status, "times": times, "then": then}:
            return failing(status, times, from_json(then) if "behaviour" in then else _reply(then), plan.get("headers"))
        case _:
            raise ValueError(f"not a plan: {plan!r}")


def _reply(given: Mapping[str, Any]) -> Reply:
    fields = dict(given)
    if "tool_calls" in fields:
        fields["tool_calls"] = [(name, arguments) for name, arguments in fields["tool_calls"]]
    if fields.get("thinking") is not None:
        text, signature = fields["thinking"]
        fields["thinking"] = (text, signature)
    return Reply(**fields)
