"""Whether calls need a person's approval, asked of the tools' own predicates: their code, so never in a workflow.

Done where the reply arrives, so that what they said is in history. They are asked side by side: however many there are,
the reply does not wait longer than for one. A predicate that fails, or does not answer soon, has not said that a call
may be made: a person decides.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

import structlog

from activities.threads import in_thread
from activities.tool_failures import unfit
from interlock.agent_tools import AgentTool
from interlock.beside import Beside
from interlock.contracts import AgentSpec, CallPart, ModelReply
from interlock.secrets import redacted

log = structlog.get_logger("interlock.approvals")


class Predicates:
    """The predicates of a worker's tools. Nobody is asked about a call that its tool would not take: that is a problem
    of the reply, told to the model at once."""

    def __init__(self, tools: Iterable[AgentTool]) -> None:
        self._tools: Mapping[str, AgentTool] = {tool.name: tool for tool in tools}

    async def asked(self, reply: ModelReply, spec: AgentSpec, *, seconds: float) -> ModelReply:
        """``reply`` with what the predicates say of its calls within ``seconds``. Calls that do not run, and those of a
        tool that this worker has no predicate of, are left out."""
        asks: dict[str, Coroutine[Any, Any, str]] = {}
        refused: dict[str, str] = {}
        for call in reply.message.calls:
            recorded, tool = spec.tool(call.tool), self._tools.get(call.tool)
            if call.call_id in reply.problems or recorded is None or recorded.approval is None or tool is None:
                continue
            if (why := _unfit(tool, call.arguments)) is not None:
                refused[call.call_id] = f"ToolArgumentsInvalid: {why}"
            elif recorded.approval == "predicate" and tool.predicate is not None:
                asks[call.call_id] = _ask(tool, tool.predicate, call, seconds)
        if not asks and not refused:
            return reply
        said = dict(zip(asks, await asyncio.gather(*asks.values()), strict=True))
        return reply.model_copy(update={"approvals": said, "problems": {**reply.problems, **refused}})


def _unfit(tool: AgentTool, arguments: str) -> str | None:
    try:
        tool.bind(arguments)
    except ValueError as error:
        return unfit(tool, error)
    except Exception:  # noqa: BLE001  # a validator's own, which the call itself will meet
        return None
    return None


async def _ask(tool: AgentTool, predicate: Beside, call: CallPart, seconds: float) -> str:
    """Why a person must decide; nothing: none need."""
    try:
        arguments = predicate.arguments({**tool.defaults, **tool.bind(call.arguments)})
        async with asyncio.timeout(seconds):
            answer = (
                predicate.function(**arguments) if predicate.is_async else in_thread(predicate.function, **arguments)
            )
            said = await answer
            if inspect.isawaitable(said):  # an async function behind a plain decorator
                said = await said
    except BaseException as error:  # whatever it is, SystemExit too, a person decides
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # the call of the model is cancelled, and not what the predicate waited for
        log.warning("approval.predicate_failed", tool=tool.name, call_id=call.call_id, error=type(error).__name__)
        return f"{tool.name} could not say whether it needs approval: {type(error).__name__}"
    if isinstance(said, str):
        return redacted(said)[:500].encode(errors="replace").decode()  # half a character would spoil the whole reply
    return f"{tool.name} asks for approval of this call" if said else ""
