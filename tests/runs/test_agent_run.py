"""The loop: resolve, model, tools, model, until the model answers."""

from __future__ import annotations

from interlock import Agent, tool
from interlock.testing import ScriptedModel, call, calls, say
from tests.conftest import Serve, activities


@tool(effect="read")
async def double(number: int) -> int:
    """Twice a number."""
    return 2 * number


async def test_the_model_is_told_what_its_tools_returned_and_answers(serve: Serve) -> None:
    model = ScriptedModel("doubling", [calls(call("double", number=2), call("double", number=4)), say("4 and 8")])
    agent = Agent(name="doubler", instructions="Double.", models=model.model, tools=[double])
    async with serve(agent) as served:
        run = await served.start("doubler", "2 and 4?")
        result = await served.end(run)
        assert (result.outcome, result.output, result.source) == ("completed", "4 and 8", "model")
        assert (result.steps, result.tool_calls, result.by_tool) == (2, 2, {"double": 2})
        assert await activities(served.client, run.id) == [
            "resolve_agent",
            "model",
            "tool.double",
            "tool.double",
            "model",
        ]
        told = (await served.interlock.transcript(run.id)).messages
        assert [message.content for message in told if message.role == "tool"] == ["4", "8"]
