"""Whether calls need a person's approval, asked of the tools' own predicates: their code, so never in a workflow.

Done where the reply arrives, so that what they said is in history. They are asked side by side: however many there are,
the reply does not wait longer than for one. A predicate that fails, or does not answer soon, has not said that a call
may be made: a person decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

import structlog

from activities.threads import in_thread
from interlock.agent_tools import AgentTool
from interlock.beside import Beside
from interlock.contracts import AgentSpec, CallPart, ModelReply
from interlock.secrets import redacted

log = structlog.get_logger("interlock.approvals")


class Predicates:
    """The predicates of a worker's tools."""

    def __init__(self, tools: Iterable[AgentTool]) -> None:
        self._tools: Mapping[str, AgentTool] = {tool.name: tool for tool in tools if tool.predicate is not None}

    async def asked(self, reply: ModelReply, spec: AgentSpec, *, seconds: float) -> ModelReply:
        """``reply`` with what the predicates say of its calls within ``seconds``. Calls that do not run, and those of a
        tool that this worker has no predicate of, are left out."""
        asks: dict[str, Coroutine[Any, Any, str]] = {}
        for call in reply.message.calls:
            recorded, tool = spec.tool(call.tool), self._tools.get(call.tool)
            if call.call_id in reply.problems or recorded is None or recorded.approval != "predicate":
                continue
            if tool is not None and tool.predicate is not None:
                asks[call.call_id] = _ask(tool, tool.predicate, call, seconds)
        if not asks:
            return reply
        said = await asyncio.gather(*asks.values())
        return reply.model_copy(update={"approvals": dict(zip(asks, said, strict=True))})


async def _ask(tool: AgentTool, predicate: Beside, call: CallPart, seconds: float) -> str:
    """Why a person must decide; nothing: none need."""
    try:
        arguments = predicate.arguments({**tool.defaults, **tool.bind(call.arguments)})
        async with asyncio.timeout(seconds):
            answer = (
                predicate.function(**arguments) if predicate.is_async else in_thread(predicate.function, **arguments)
            )
            said = await answer
    except BaseException as error:  # whatever it is, SystemExit too, a person decides
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # the call of the model is cancelled, and not what the predicate waited for
        log.warning("approval.predicate_failed", tool=tool.name, call_id=call.call_id, error=type(error).__name__)
        return f"{tool.name} could not say whether it needs approval: {type(error).__name__}"
    return (
        redacted(said)[:500] if isinstance(said, str) else f"{tool.name} asks for approval of this call" if said else ""
    )
