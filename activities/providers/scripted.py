"""``scripted:NAME``: a model that follows a script, for tests and for the offline demo. It bills nothing.

Scripts are ``interlock.testing.ScriptedModel`` objects; making one makes it known by its name.
"""

from __future__ import annotations

import asyncio

from activities.providers import Answer, Request, Tokens
from interlock.contracts import AssistantMessage, CallPart, Price, TextPart
from interlock.errors import Failure
from interlock.testing import SCRIPTS, Say, ScriptedModel


class Scripted:
    def check(self, model: str) -> None:
        if model.partition(":")[2] not in SCRIPTS:
            known = ", ".join(f"scripted:{name}" for name in sorted(SCRIPTS)) or "none"
            raise ValueError(f"no script is named {model!r}; known: {known}. Make one with ScriptedModel(name, ...)")

    def price(self, model: str) -> Price | None:
        script = SCRIPTS.get(model.partition(":")[2])
        return script.price if script else None

    async def close(self) -> None:
        """There is nothing to close."""

    async def ask(self, request: Request) -> Answer:
        script: ScriptedModel | None = SCRIPTS.get(request.model.partition(":")[2])
        if script is None:
            raise Failure("ModelRejected", f"no script is named {request.model!r} on this worker")
        said: Say = script.turn(tuple(request.messages), tuple(tool.name for tool in request.tools if request.may_call))
        if said.delay:
            await asyncio.sleep(said.delay)
        if said.failure is not None:
            raise said.failure
        parts: list[TextPart | CallPart] = [TextPart(text=said.text)] if said.text else []
        parts += [
            CallPart(call_id=f"s{request.step}c{number}", tool=name, arguments=arguments)
            for number, (name, arguments) in enumerate(said.calls, start=1)
        ]
        return Answer(
            message=AssistantMessage(provider="scripted", parts=tuple(parts)),
            finish=said.finish or ("tool_calls" if said.calls else "stop"),
            tokens=Tokens(
                input=said.input_tokens or _tokens(request), output=said.output_tokens or len(repr(parts)) // 4
            ),
            response_model=request.model,
        )


def _tokens(request: Request) -> int:
    texts = (getattr(message, "text", "") or getattr(message, "content", "") for message in request.messages)
    return (len(request.instructions) + sum(len(text) + 16 for text in texts)) // 4
