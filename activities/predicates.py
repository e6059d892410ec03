"""Whether calls need a person's approval, asked of the tools' own predicates: their code, so never in a workflow.

Done where the reply arrives, so that what they said is in history. A predicate that fails, or does not answer soon,
has not said that a call may be made: a person decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import structlog

from activities.threads import in_thread
from interlock import options
from interlock.beside import Beside
from interlock.contracts import AgentSpec, CallPart, ModelReply
from interlock.secrets import redacted
from interlock.tools import AgentTool

log = structlog.get_logger("interlock.approvals")


class Predicates:
    """The predicates of a worker's tools."""

    def __init__(self, tools: Iterable[AgentTool]) -> None:
        self._tools: Mapping[str, AgentTool] = {tool.name: tool for tool in tools if tool.predicate is not None}

    async def asked(self, reply: ModelReply, spec: AgentSpec) -> ModelReply:
        """``reply`` with what the predicates say of its calls. Calls that do not run, and those of a tool that this
        worker has no predicate of, are left out."""
        said: dict[str, str] = {}
        for call in reply.message.calls:
            recorded, tool = spec.tool(call.tool), self._tools.get(call.tool)
            if call.call_id in reply.problems or recorded is None or recorded.approval != "predicate":
                continue
            if tool is not None and tool.predicate is not None:
                said[call.call_id] = await _ask(tool, tool.predicate, call)
        return reply.model_copy(update={"approvals": said}) if said else reply


async def _ask(tool: AgentTool, predicate: Beside, call: CallPart) -> str:
    """Why a person must decide; nothing: none need."""
    try:
        arguments = predicate.arguments({**tool.defaults, **tool.bind(call.arguments)})
        async with asyncio.timeout(options.PREDICATE_PATIENCE.total_seconds()):
            answer = (
                predicate.function(**arguments) if predicate.is_async else in_thread(predicate.function, **arguments)
            )
            said = await answer
    except Exception as error:  # noqa: BLE001  # whatever it is, a person decides
        log.warning("approval.predicate_failed", tool=tool.name, call_id=call.call_id, error=type(error).__name__)
        return f"{tool.name} could not say whether it needs approval: {type(error).__name__}"
    return (
        redacted(said)[:500] if isinstance(said, str) else f"{tool.name} asks for approval of this call" if said else ""
    )
