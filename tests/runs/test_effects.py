"""What a tool's effect allows: a write whose fate is unknown is never run again by itself."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment, WorkflowEnvironment

from activities.tools import _check_inputs
from interlock import Agent, Retry, ToolContext, tool
from interlock.client import Run
from interlock.contracts import ToolCall
from interlock.errors import BadRequest
from interlock.testing import ScriptedModel, call, replay, say
from tests.conftest import Serve, Served, activities
from tests.runs.world import World, agent, told, waits
from worker import serving
from workflows.agent_run import AgentRun


class Post:
    """A write that does not come back in time, whether it takes effect or not."""

    def __init__(self, *, takes_effect: bool = True) -> None:
        self.takes_effect = takes_effect
        self.posted: list[str] = []
        self.keys: list[str] = []
        self.verified: list[tuple[str, str]] = []

    def tool(self, **options: Any) -> Any:
        @tool(effect="write", timeout=0.4, **options)
        async def post(text: str, context: ToolContext) -> str:
            """Post a text."""
            self.keys.append(context.idempotency_key)
            if self.takes_effect:
                self.posted.append(text)
            await asyncio.sleep(30)
            return "posted"

        return post

    def verify(self, answer: Any) -> Any:
        async def look(text: str, context: ToolContext) -> Any:
            self.verified.append((text, context.idempotency_key))
            if isinstance(answer, Exception):
                raise answer
            return answer

        return look


UNKNOWN = "ToolOutcomeUnknown: post did not "  # finish; or on a busy machine: report back


@pytest.mark.parametrize(
    ("answer", "said", "is_error"),
    [
        (True, "post did not report back, and was found to have taken effect.", False),
        ("posted as number 7", "posted as number 7", False),
        (False, "ToolFailed: post did not report back, and was found not to have taken effect.", True),
        (None, UNKNOWN, True),
        (ConnectionError("no"), UNKNOWN, True),
    ],
    ids=["happened", "a result", "did not happen", "cannot tell", "fails"],
)
async def test_the_tools_own_function_is_asked_first_under_the_same_key(
    answer: Any, said: str, *, is_error: bool, serve: Serve
) -> None:
    post = Post()
    async with serve(agent("verified", [call("post", text="x")], [post.tool(verify=post.verify(answer))])) as served:
        run = await served.start("verified")
        result = await served.end(run)
        [message] = await told(served, run)
        assert message.content.startswith(said)
        assert message.is_error == is_error
        assert (await activities(served.client, run.id)).count("tool.post") == 2
    assert post.posted == ["x"]
    assert set(post.verified) == {("x", post.keys[0])}
    assert len(post.verified) == (3 if isinstance(answer, Exception) else 1)
    assert result.by_tool == {"post": 1}


@pytest.mark.parametrize(
    ("approve", "said"),
    [(True, "post did not report back; ann says that it took effect: I see it."), (False, "ToolFailed: post did not")],
)
async def test_a_person_may_be_asked_what_became_of_it(*, approve: bool, said: str, serve: Serve) -> None:
    post = Post()
    async with serve(agent("asked", [call("post", text="x")], [post.tool()], on_unknown="ask")) as served:
        run = await served.start("asked")
        [pending] = await waits(run, "s1c1-outcome")
        assert (pending.kind, pending.tool, pending.summary) == ("outcome", "post", 'post(text="x")')
        assert pending.why.startswith(UNKNOWN)
        assert "approve: it did take effect. reject: it did not" in pending.why
        with pytest.raises(BadRequest, match="no call 's1c1' waits"):
            await run.decide("s1c1", approve=True, by="ann")
        await run.decide("s1c1-outcome", approve=approve, by="ann", reason="I see it")
        await served.end(run)
        [message] = await told(served, run)
        assert message.content.startswith(said)
        assert message.is_error != approve
    assert post.posted == ["x"]


@pytest.mark.parametrize("how", ["kill", "cancel"])
async def test_a_run_that_asks_what_became_of_a_write_can_be_ended_and_says_that_nobody_knows(
    how: str, serve: Serve
) -> None:
    @tool(effect="write", on_unknown="ask")
    def post() -> str:
        """Post, and hear no answer."""
        raise TimeoutError("no answer")

    async with serve(agent("ended-asking", [call("post")], [post])) as served:
        run = await served.start("ended-asking")
        await waits(run, "s1c1-outcome")
        await (run.kill("enough", by="ops") if how == "kill" else run.cancel())
        result = await served.end(run)
    assert result.outcome == ("killed" if how == "kill" else "cancelled")
    if how == "kill":
        assert result.kill_report is not None
        assert [each.tool for each in result.kill_report.unknown] == ["post"]


async def test_verify_then_a_person_then_the_model_is_told(serve: Serve, skipping: WorkflowEnvironment) -> None:
    post = Post()
    asks = post.tool(verify=post.verify(None), on_unknown="ask", approval_timeout=3600)
    async with serve(agent("all-of-it", [call("post", text="x")], [asks]), client=skipping.client) as served:
        with skipping.with_time_skipping_disabled():
            run = await served.start("all-of-it")
        await waits(run, "s1c1-outcome")
        await skipping.fast_forward(run.handle, timedelta(hours=2))
        await served.end(run)
        [message] = await told(served, run)
        assert message.content.startswith(UNKNOWN)
        assert "may or may not have taken effect, and it will not be run again" in message.content
    assert (len(post.verified), post.posted) == (1, ["x"])


async def test_an_approval_is_no_answer_to_what_became_of_the_call(serve: Serve) -> None:
    post = Post()
    both = post.tool(approval=True, on_unknown="ask")
    async with serve(agent("both-asked", [call("post", text="x")], [both])) as served:
        run = await served.start("both-asked")
        await waits(run, "s1c1")
        await run.decide("s1c1", approve=True, by="ann")
        await waits(run, "s1c1-outcome")
        with pytest.raises(BadRequest, match="already approved by ann"):
            await run.decide("s1c1", approve=True, by="bob")
        await run.decide("s1c1-outcome", approve=False, by="bob")
        await served.end(run)
    assert post.posted == ["x"]


async def test_a_worker_that_ends_in_the_middle_of_a_write_leaves_it_unknown(serve: Serve, temporal: Client) -> None:
    began = asyncio.Event()

    @tool(effect="write")
    async def post() -> str:
        """Post."""
        began.set()
        await asyncio.sleep(30)
        return "posted"

    ended = agent("ended", [call("post")], [post])
    async with serve(ended, grace=timedelta(seconds=0.2)) as served:
        run = await served.start("ended")
        await asyncio.wait_for(began.wait(), 25)
        queue = served.interlock.queue
    async with serving(temporal, [ended], queue=queue, fleet=f"fleet-{queue}"):
        await run.result()
        await replay(temporal, run.handle, AgentRun)
        [message] = await told(Served(served.interlock), run)
    assert message.content.startswith("ToolOutcomeUnknown: the worker ended while post ran.")


async def summaries(run: Run) -> list[str]:
    history = await run.handle.fetch_history()
    said = [event.user_metadata.summary for event in history.events if event.HasField("timer_started_event_attributes")]
    return [json.loads(each.data) for each in said if each.data]


async def test_a_write_that_reached_a_worker_without_its_tool_is_made_by_another(
    serve: Serve, temporal: Client
) -> None:
    """As while workers are replaced: nothing was run, so nothing is run twice."""
    world = World()
    model = ScriptedModel("replaced", [call("send_email", to="ada"), call("gone"), say("done")])
    send = world.send(retry=Retry(initial=0.8, jitter=0))

    @tool(effect="write", approval=True, retry=Retry(initial=0.02))
    def gone() -> str:
        """Of a release that is there no more."""
        raise AssertionError

    def release(*tools: Any) -> Agent:
        return Agent(name="replaced", instructions="", models=model.model, tools=tools)

    async with serve(release(send, gone), max_cached_workflows=0) as served:
        run = await served.start("replaced")
        await waits(run, "s1c1")
        queue = served.interlock.queue
    at: dict[str, Any] = {"queue": queue, "fleet": f"fleet-{queue}", "max_cached_workflows": 0}
    async with serving(temporal, [release()], **at):
        await run.decide("s1c1", approve=True)
        while "waiting for a worker that has send_email" not in await summaries(run):
            await asyncio.sleep(0.05)
    async with serving(temporal, [release(send)], **at):
        await waits(run, "s2c1")
        await run.decide("s2c1", approve=True)
        result = await run.result()
        await replay(temporal, run.handle, AgentRun)
        sent, was_gone = await told(Served(served.interlock), run)
    assert (sent.content, world.sent) == ("sent to ada", ["ada"])
    assert was_gone.content == "UnknownTool: the workers that were asked do not have gone, others may. Nothing was run."
    assert result.by_tool == {"send_email": 1, "gone": 1}


async def test_no_attempt_begins_after_what_it_relies_on_is_past_its_window() -> None:
    @tool
    def act() -> str:
        """Act."""
        return "acted"

    def at(seconds: float) -> ToolCall:
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        return ToolCall(
            call_id="s1c1", key="k", tool="act", arguments="{}", agent="a", user_id="u", step=1, fresh_until=until
        )

    environment = ActivityEnvironment()
    environment.run(_check_inputs, act, at(60))
    with pytest.raises(ApplicationError) as refused:
        environment.run(_check_inputs, act, at(-0.1))
    assert (refused.value.type, refused.value.non_retryable) == ("ToolInputStale", True)
