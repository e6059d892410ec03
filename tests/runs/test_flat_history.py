"""The conversation is in history once, and every model is sent the same bytes wherever it is rebuilt."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

from temporalio.client import Client

from interlock import Agent, AgentTask, Interlock, Limits, tool
from interlock.contracts import Message
from interlock.testing import Say, ScriptedModel, call, calls, replay, say
from tests.conftest import Serve
from tests.runs.recording import Recording
from tests.sizes import sized
from worker import serving
from workflows.agent_run import AgentRun


@tool(effect="read")
async def page(number: int) -> str:
    """A page of 2 KB."""
    return f"{number:06d} " + "x" * 2041


def reader(turns: int, side_by_side: int = 1) -> Agent:
    """Reads a page, or several, a turn, and answers after ``turns`` of them."""

    def turn(messages: Sequence[Message], tools: Sequence[str]) -> Say:
        read = sum(message.role == "assistant" for message in messages)
        if read == turns:
            return say(f"read {turns}")
        return calls(*(call("page", number=read * side_by_side + each) for each in range(side_by_side)))

    model = ScriptedModel(f"reader-{turns}-{side_by_side}", turn)
    limits = Limits(tool_calls=10_000)
    return Agent(name="reader", instructions="Read.", models=model.model, tools=[page], limits=limits)


async def history_bytes(client: Client, id: str) -> int:
    described = await client.get_workflow_handle(id).describe()
    return described.raw_description.workflow_execution_info.history_size_bytes


async def test_300_tool_calls_stay_below_3_mb_of_history(serve: Serve) -> None:
    # One call a turn makes the longest history: 7.8 KB a call. Six a turn make less, with less work.
    turns, side_by_side, most = sized((300, 1, 3_000_000), (50, 6, 2_000_000))
    async with serve(reader(turns, side_by_side)) as served:
        run = await served.start("reader")
        result = await served.end(run)
        assert (result.outcome, result.tool_calls) == ("completed", 300)
        assert await history_bytes(served.client, run.id) < most


async def test_workers_without_a_cache_send_the_bytes_that_one_with_it_sends(serve: Serve, temporal: Client) -> None:
    with_cache, without, turns = Recording(), Recording(), sized(12, 6)
    async with serve(reader(turns, 3), providers=with_cache.providers) as served:
        await served.run("reader", "same question")
    async with AsyncExitStack() as stack:
        for _ in range(2):
            # One client takes one worker of a queue: each has its own, as in a process of its own.
            target = temporal.service_client.config.target_host
            own = await Client.connect(target, data_converter=temporal.data_converter)
            await stack.enter_async_context(
                serving(
                    own,
                    [reader(turns, 3)],
                    queue="two-workers",
                    fleet="two-workers-fleet",
                    providers=without.providers,
                    transcript_bytes=0,
                    max_cached_workflows=0,
                )
            )
        run = await Interlock(temporal, "two-workers").start(AgentTask(agent="reader", input="same question"))
        await run.result()
        await replay(temporal, run.handle, AgentRun)
    assert len(with_cache.sent) == turns + 1
    assert without.sent == with_cache.sent


async def test_a_run_carried_over_continue_as_new_has_the_conversation_of_one_that_never_was(
    serve: Serve, forgetful: Client
) -> None:
    once, carried, turns = Recording(), Recording(), sized(24, 12)
    async with serve(reader(turns, 2), providers=once.providers) as served:
        run = await served.start("reader", "same question")
        result = await served.end(run)
        whole = await served.interlock.transcript(run.id)
    async with serve(reader(turns, 2), client=forgetful, providers=carried.providers) as served:
        run = await served.start("reader", "same question")
        continued = await served.end(run)
        assert await executions(forgetful, run.id) >= 4
        rebuilt = await served.interlock.transcript(run.id)
    assert carried.sent == once.sent
    assert said(rebuilt.messages) == said(whole.messages)
    assert (continued.output, continued.steps, continued.tool_calls) == (result.output, turns + 1, 2 * turns)
    assert continued.usage == result.usage


def said(messages: tuple[Message, ...]) -> list[str]:
    return [message.model_dump_json() for message in messages]


async def executions(client: Client, id: str) -> int:
    return len([each async for each in client.list_workflows(f"WorkflowId = '{id}'")])
