"""The longest names that are accepted hold in all that a run tells others, and carries over."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from temporalio.client import Client

from interlock import Account, Agent, AgentTask, Price, tool
from interlock.contracts import Message
from interlock.testing import Say, ScriptedModel, call, say
from tests.conftest import Serve


async def test_a_run_may_have_the_longest_id_and_user_there_are(serve: Serve, forgetful: Client) -> None:
    """What a run tells its ledger, and what it carries over, holds them."""
    user = "é" * 200

    def turn(messages: Sequence[Message], tools: Sequence[str]) -> Say:
        return call("note", number=len(messages)) if len(messages) < 8 else say("done")

    @tool(effect="read")
    async def note(number: int) -> str:
        """Note."""
        return str(number)

    model = ScriptedModel("longest", turn, Price(input="10", output="10")).model
    payer = Agent(
        name="longest", instructions="-", models=model, tools=[note], accounts=[Account("user:{user_id}", usd="1")]
    )
    async with serve(payer, client=forgetful) as served:
        run = await served.interlock.start(AgentTask(agent="longest", input="go", user_id=user), id="x" * 1000)
        result = await served.end(run)
        assert result.outcome == "completed"
        assert (await served.interlock.account(f"user:{user}").status()).spent_usd == result.usage.usd > 0


def test_a_user_that_the_index_has_no_room_for_is_refused() -> None:
    with pytest.raises(ValueError, match="it takes 2402 bytes in the server's index, which has room for 2000"):
        AgentTask(agent="a", input="x", user_id="😀" * 200)
