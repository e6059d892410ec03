"""Which questions people are asked, and how many answers may come at once."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
from pydantic import Field

from interlock import tool
from interlock.testing import call, calls, temporal_server
from tests.conftest import Serve
from tests.runs.world import World, agent, told, waits
from worker import serving
from workflows.asking import KEPT_DECISIONS


async def test_more_decisions_in_one_task_than_a_run_remembers(serve: Serve) -> None:
    """Made while no worker served, they all come at once."""
    world, many = World(), KEPT_DECISIONS + 5
    mailing = agent("mailing", [calls(*(call("send_email", to=f"{n}") for n in range(many)))], [world.send()])
    async with temporal_server(config={"history.maxInFlightUpdates": 1000}) as environment:
        async with serve(mailing, client=environment.client) as served:
            run = await served.start("mailing")
            await waits(run, *(f"s1c{n + 1}" for n in range(many)))
            queue, fleet = served.interlock.queue, served.interlock.fleet.id
        decisions = [
            asyncio.create_task(
                run.handle.execute_update("decide", {"call_id": f"s1c{n + 1}", "approve": True, "by": "ann"})
            )
            for n in range(many)
        ]
        await asyncio.sleep(1)
        async with serving(environment.client, [mailing], queue=queue, fleet=fleet):
            await asyncio.gather(*decisions)
            assert (await served.end(run)).outcome == "completed"
    assert sorted(world.sent, key=int) == [f"{n}" for n in range(many)]


@pytest.mark.parametrize("approval", [True, lambda to: True], ids=["always", "predicate"])
async def test_nobody_is_asked_about_a_call_that_the_tool_would_refuse(approval: Any, serve: Serve) -> None:
    sent: list[str] = []

    @tool(effect="write", approval=approval)
    def send_email(to: Annotated[str, Field(pattern=r"^\p{L}+$")]) -> str:
        """Send an e-mail."""
        sent.append(to)
        return "sent"

    async with serve(agent("unfit", [call("send_email", to="a b")], [send_email])) as served:
        run = await served.start("unfit")
        assert (await served.end(run)).outcome == "completed"
        [message] = await told(served, run)
    assert message.content.startswith("ToolArgumentsInvalid: the arguments of send_email do not fit: to: ")
    assert (message.is_error, sent) == (True, [])
