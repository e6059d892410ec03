"""The agents that are measured do what the benchmarks take them to do."""

from __future__ import annotations

import pytest

from benchmarks.agent import AGENT
from benchmarks.charged import PLAIN
from interlock import Agent
from tests.conftest import Serve, activities


@pytest.mark.parametrize("agent", [AGENT, PLAIN])
async def test_a_run_takes_as_many_steps_as_its_task_says(agent: Agent, serve: Serve) -> None:
    async with serve(agent) as served:
        run = await served.start(agent.name, "12")
        result = await served.end(run)
        made = await activities(served.client, run.id)
    assert (result.outcome, result.steps, result.tool_calls) == ("completed", 13, 12)
    assert made == ["resolve_agent", *("model", "tool.read_page") * 12, "model"]
