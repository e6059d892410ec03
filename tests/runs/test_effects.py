"""What a tool's effect allows: a write whose fate is unknown is never run again, an idempotent call keeps its key."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment, WorkflowEnvironment

from activities.tools import _check_inputs
from interlock import Agent, Retry, ToolContext, tool
from interlock.client import Run
from interlock.contracts import ToolCall
from interlock.embedded import server_binary
from interlock.errors import BadRequest
from interlock.testing import ScriptedModel, call, replay, say, temporal_server
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


@pytest.fixture(scope="module")
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    async with temporal_server(time_skipping=True) as environment:
        yield environment


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


# -- keys -----------------------------------------------------------------------------------------------------


def table(path: Path) -> list[tuple[str, str, int]]:
    with sqlite3.connect(path) as database:
        return database.execute("SELECT key, seat, attempts FROM booked ORDER BY seat").fetchall()


def booking(path: Path, failures: int) -> Any:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE booked (key TEXT PRIMARY KEY, seat TEXT, attempts INTEGER)")

    @tool(effect="idempotent")
    def book(seat: str, context: ToolContext) -> str:
        """Book a seat, once for each key, and lose the answer."""
        with sqlite3.connect(path) as database:
            database.execute(
                "INSERT INTO booked VALUES (?, ?, 1) ON CONFLICT (key) DO UPDATE SET attempts = attempts + 1",
                (context.idempotency_key, seat),
            )
            query = "SELECT attempts FROM booked WHERE key = ?"
            [(attempts,)] = database.execute(query, (context.idempotency_key,)).fetchall()
        if attempts <= failures:
            raise RuntimeError("the answer was lost")
        return f"{seat} is booked"

    return book


async def command(client: Client, *arguments: str) -> str:
    """The real ``temporal`` command."""
    process = await asyncio.create_subprocess_exec(
        str(server_binary()), *arguments, "--address", client.service_client.config.target_host,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_an_idempotent_call_keeps_its_key_over_attempts_and_no_two_calls_share_one(
    serve: Serve, tmp_path: Path
) -> None:
    path = tmp_path / "booked.db"
    turns = [call("book", seat="1A"), call("book", seat="1A"), call("book", seat="1B")]
    async with serve(agent("booker", turns, [booking(path, failures=2)])) as served:
        results = await asyncio.gather(*(served.run("booker") for _ in range(3)))
    assert {result.outcome for result in results} == {"completed"}
    rows = table(path)
    assert [(seat, attempts) for _, seat, attempts in rows] == [("1A", 3)] * 6 + [("1B", 3)] * 3


async def test_the_key_survives_a_reset_of_the_run_by_the_temporal_command(
    serve: Serve, temporal: Client, tmp_path: Path
) -> None:
    path = tmp_path / "booked.db"
    turns = [call("book", seat="1A"), call("book", seat="1B")]
    async with serve(agent("reset", turns, [booking(path, failures=0)])) as served:
        run = await served.start("reset")
        await run.result()
        history = await run.handle.fetch_history()
        first = [
            event.event_id for event in history.events if event.HasField("workflow_task_completed_event_attributes")
        ]
        await command(
            temporal, "workflow", "reset", "-w", run.id, "--event-id", str(first[1]), "--reason", "again",
        )  # fmt: skip
        again = served.interlock.get(run.id)
        result = await again.result()
        assert result.outcome == "completed"
    # Everything was booked again, under the keys it had: one row for each call, and each was asked for twice.
    assert [(seat, attempts) for _, seat, attempts in table(path)] == [("1A", 2), ("1B", 2)]


async def test_the_key_survives_a_reset_of_the_activity_by_the_temporal_command(
    serve: Serve, temporal: Client, tmp_path: Path
) -> None:
    keys: list[tuple[str, int]] = []
    enough = asyncio.Event()

    @tool(effect="idempotent", retry=Retry(attempts=50, initial=0.2, maximum=0.2, jitter=0))
    async def book(context: ToolContext) -> str:
        """Book, when the test has seen enough."""
        keys.append((context.idempotency_key, context.attempt))
        if not enough.is_set():
            raise RuntimeError("try again")
        return "booked"

    def counts_again() -> bool:
        """From 1, or from 2 where the reset came in the middle of an attempt."""
        return any(later[1] <= earlier[1] for earlier, later in pairwise(keys))

    async with serve(agent("activity-reset", [call("book")], [book])) as served:
        run = await served.start("activity-reset")
        for _ in range(500):
            if len(keys) >= 3:
                break
            await asyncio.sleep(0.05)
        described = json.loads(await command(temporal, "workflow", "describe", "-w", run.id, "--output", "json"))
        [activity] = described["pendingActivities"]
        await command(
            temporal, "activity", "reset", "-w", run.id, "--activity-id", activity["activityId"],
        )  # fmt: skip
        for _ in range(500):
            if counts_again():
                break
            await asyncio.sleep(0.05)
        enough.set()
        await served.end(run)
    assert counts_again()
    assert len({key for key, _ in keys}) == 1


async def test_keys_and_what_is_known_survive_continue_as_new(tmp_path: Path, serve: Serve) -> None:
    path, quoted = tmp_path / "booked.db", list[int]()

    @tool(effect="read", valid_for=600, cache=True)
    def quote() -> int:
        """A price."""
        quoted.append(1)
        return 10

    turns = [call("quote"), *(call("book", seat=f"{number:02}") for number in range(12)), call("quote")]
    booker = agent("continued", turns, [booking(path, failures=1), quote])
    small = {"limit.historyCount.suggestContinueAsNew": 30}
    async with temporal_server(config=small) as environment, serve(booker, client=environment.client) as served:
        run = await served.start("continued", f"go {uuid.uuid4().hex}")
        result = await served.end(run)
        assert result.outcome == "completed"
        last = await environment.client.get_workflow_handle(run.id).describe()
        assert last.run_id != run.handle.first_execution_run_id
    assert [attempts for _, _, attempts in table(path)] == [2] * 12
    assert quoted == [1]
