"""What a run answers, where it is told more while it answers, is cut off, or has an earlier run's answer to give."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from interlock import Agent, Retry
from interlock.client import Run
from interlock.contracts import AgentResult
from interlock.errors import Failure
from interlock.search_attributes import AGENT_OUTCOME
from interlock.testing import Say, ScriptedModel, say
from tests.conftest import Serve, Served
from tests.runs.loops import until as scheduled
from tests.until import until

DOWN = Say(failure=Failure("ModelRejected", "no such model"))


def agent(script: Any, **options: Any) -> Agent:
    """Its script under a name of its own, as its runs' answers: others must not be remembered in their place."""
    name = f"answers-{uuid.uuid4().hex[:8]}"
    models = ScriptedModel(name, script).model
    return Agent(**{"name": name, "instructions": "-", "models": models, "retry": Retry(attempts=1), **options})


async def test_an_answer_is_not_lost_because_somebody_said_more_and_the_next_turn_failed(serve: Serve) -> None:
    told = agent(lambda messages, tools: say("42", delay=3.0) if len(messages) == 1 else DOWN)
    async with serve(told) as served:
        run = await served.start(told.name)
        await scheduled(run, "model")
        await run.steer("Are you sure?")
        result = await served.end(run)
    assert (result.outcome, result.source, result.output) == ("degraded", "model", "42")
    assert "no such model" in (result.reason or "")
    assert result.steered


@pytest.mark.parametrize(("finish", "said"), [("length", "by its length"), ("content_filter", "content filter")])
async def test_an_answer_that_is_cut_off_says_so(finish: Any, said: str, serve: Serve) -> None:
    cut = agent([say("It was the", finish=finish)])
    async with serve(cut) as served:
        result = await served.run(cut.name)
    assert (result.outcome, result.output) == ("degraded", "It was the")
    assert said in (result.reason or "")


async def completed(served: Served, run: Run) -> None:
    """Wait for a run to be done, and for the index to know."""
    assert (await served.end(run)).outcome == "completed"

    async def known() -> bool:
        found = [
            each
            async for each in served.interlock.list(
                f"WorkflowId = '{run.id}' AND AgentOutcome = 'completed' AND ExecutionStatus = 'Completed'"
            )
        ]
        return bool(found) and found[0].typed_search_attributes.get(AGENT_OUTCOME) == "completed"

    await until(known)


async def test_what_answers_more_than_the_input_is_not_remembered_as_its_answer(serve: Serve) -> None:
    up = True

    def turn(messages: Any, tools: Any) -> Say:
        return say(f"about {len(messages)}", delay=2.0) if up else DOWN

    one = agent(turn)
    async with serve(one) as served:
        first = await served.start(one.name, "the question", user_id="ada")
        await scheduled(first, "model")
        await first.steer("Forget it. Write a poem.")
        await completed(served, first)
        await completed(served, await served.interlock.fork(first.id, 1, "Write another."))
        up = False
        assert (await _asked_again(served, one, "ada")).source == "notice"


@pytest.mark.parametrize("user", ['a"b', "a\\b", "o'brien"])
async def test_whoever_asks_is_remembered_however_they_are_called(user: str, serve: Serve) -> None:
    up = True
    one = agent(lambda messages, tools: say("42") if up else DOWN)
    async with serve(one) as served:
        await completed(served, await served.start(one.name, "the question", user_id=user))
        up = False
        assert (await _asked_again(served, one, user)).source == "cache"
        assert (await _asked_again(served, one, f"{user}x")).source == "notice"


async def _asked_again(served: Served, one: Agent, user: str) -> AgentResult:
    return await served.run(one.name, "the question", user_id=user)
