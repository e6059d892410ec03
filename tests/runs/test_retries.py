"""How patient a run is with its models: attempts, waits and limits, as the server that was asked saw them."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from interlock import Agent, Limits, Models, Retry, tool
from interlock.contracts import Attempt, ModelReply
from tests.billing import Reply, Request
from tests.billing.behaviours import always, failing, sequence
from tests.billing.environment import MODELS, billing
from tests.billing.server import BillingServer
from tests.conftest import Serve
from tests.fleet.environment import NEVER, configured

CHAT, ANTHROPIC = MODELS["chat"], MODELS["anthropic"]
QUICK = Retry(attempts=4, initial=0.05, maximum=0.2)
SLACK = 3.0  # of a machine that others use too


@tool(effect="read")
def look() -> str:
    """Look."""
    return "seen"


def agent(*, fallback: tuple[str, ...] = (), **options: Any) -> Agent:
    models = Models(simple=CHAT, medium=CHAT, complex=CHAT, fallback=fallback)
    return Agent(
        **{
            "name": "a",
            "instructions": "",
            "models": models,
            "retry": QUICK,
            "tools": [look],
            "repeat_limit": 1000,
            **options,
        }
    )


def gaps(server: BillingServer) -> list[float]:
    at = [request.at for request in server.requests]
    return [later - earlier for earlier, later in itertools.pairwise(at)]


async def attempts(client: Client, id: str) -> list[list[tuple[int, str, str | None]]]:
    """What the history of a run says of each attempt of each model call: number, fate, error."""
    found: list[list[Attempt]] = []
    async for event in client.get_workflow_handle(id).fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            payloads = event.activity_task_completed_event_attributes.result.payloads
            if b'"reply_id"' in payloads[0].data:
                [reply] = await client.data_converter.decode(payloads, [ModelReply])
                found.append(list(reply.attempts))
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED:
            error = await client.data_converter.decode_failure(event.activity_task_failed_event_attributes.failure)
            assert isinstance(error, ApplicationError)
            found.append([Attempt.model_validate(each) for each in error.details[0]])
    return [[(each.number, each.fate, each.error) for each in call] for call in found]


@pytest.mark.parametrize(
    ("reply", "fate", "error"),
    [
        (Reply(status=429), "unbilled", "ModelRateLimited"),
        (Reply(status=529), "unbilled", "ModelOverloaded"),
        (Reply(status=500), "unbilled", "ModelUnavailable"),
        (Reply(text="paid", drop="after_billing"), "unknown", "ModelUnavailable"),
        (Reply(text="paid", body="<html>", headers={"content-type": "text/html"}), "unknown", "ModelReplyInvalid"),
    ],
    ids=["429", "529", "500", "dropped", "garbage"],
)
async def test_an_attempt_that_failed_is_on_record_and_the_next_one_is_made(
    reply: Reply, fate: str, error: str, serve: Serve
) -> None:
    async with (
        billing(sequence([reply, reply, Reply(text="there", input_tokens=50)])) as server,
        serve(agent()) as served,
    ):
        run = await served.start("a")
        result = await served.end(run)
        assert await attempts(served.client, run.id) == [[(1, fate, error), (2, fate, error), (3, "billed", None)]]
    assert (result.outcome, result.usage.attempts, server.bill.requests) == ("completed", 3, 3)
    assert (result.usage.input_tokens == 50) == (fate == "unbilled")
    assert (result.usage.usd_unsettled > 0) == (fate == "unknown")


async def test_attempts_are_bounded_and_all_on_record_when_none_worked(serve: Serve) -> None:
    async with billing(always(Reply(status=500))) as server, serve(agent()) as served:
        run = await served.start("a")
        result = await served.end(run)
        assert await attempts(served.client, run.id) == [[(n, "unbilled", "ModelUnavailable") for n in (1, 2, 3, 4)]]
    assert (result.outcome, result.source, server.bill.requests) == ("unavailable", "notice", QUICK.attempts)
    assert "ModelUnavailable" in (result.reason or "")
    assert CHAT in (result.reason or "")


@pytest.mark.parametrize(
    ("jitter", "least"), [(0.0, (0.1, 0.2, 0.4, 0.4)), (1.0, (0.0,) * 4), (0.5, (0.05, 0.1, 0.2, 0.2))]
)
async def test_waits_grow_to_a_maximum_and_are_jittered_from_above(
    jitter: float, least: tuple[float, ...], serve: Serve
) -> None:
    retry = Retry(attempts=5, initial=0.1, factor=2, maximum=0.4, jitter=jitter)
    async with billing(failing(503, 4, Reply(text="up"))) as server, serve(agent(retry=retry)) as served:
        assert (await served.run("a")).outcome == "completed"
    assert len(server.requests) == 5
    for gap, low, high in zip(gaps(server), least, (0.1, 0.2, 0.4, 0.4), strict=True):
        assert low <= gap <= high + SLACK


async def test_runs_that_failed_together_do_not_return_together(serve: Serve) -> None:
    at: dict[str, list[float]] = {}

    def behaviour(request: Request, n: int) -> Reply:
        tries = at.setdefault(request.messages[0].text, [])
        tries.append(request.at)
        return Reply(status=503) if len(tries) == 1 else Reply(text="up")

    retry = Retry(attempts=3, initial=1.0, maximum=1.0)
    async with billing(behaviour), serve(agent(retry=retry)) as served:
        await configured(served, NEVER)
        runs = [await served.start("a", f"run {n}") for n in range(12)]
        assert {(await served.end(run)).outcome for run in runs} == {"completed"}
    waits = [again - first for first, again in at.values()]
    assert len(waits) == 12
    assert max(waits) <= 1.0 + SLACK
    assert max(waits) - min(waits) > 0.3


@pytest.mark.parametrize("status", [429, 503])
async def test_what_the_provider_asks_to_wait_is_waited(status: int, serve: Serve) -> None:
    async with billing(failing(status, 1, Reply(text="up"), {"retry-after": "2"})) as server, serve(agent()) as served:
        assert (await served.run("a")).outcome == "completed"
    [gap] = gaps(server)
    assert 2.0 <= gap <= 2.0 + 2 * SLACK


async def test_a_wait_longer_than_the_time_left_is_not_begun(serve: Serve) -> None:
    def behaviour(request: Request, n: int) -> Reply:
        busy = request.wire == "chat"
        return Reply(status=429, headers={"retry-after": "30"}) if busy else Reply(text="there")

    alone = agent(name="alone", limits=Limits(seconds=10))
    helped = agent(name="helped", limits=Limits(seconds=10), fallback=(ANTHROPIC,))
    async with billing(behaviour) as server, serve(alone, helped) as served:
        began = time.monotonic()
        first = await served.run("alone")
        second = await served.run("helped")
        assert time.monotonic() - began < 25
    assert (first.outcome, second.outcome, second.output) == ("unavailable", "completed", "there")
    assert "ModelRateLimited" in (first.reason or "")
    assert [request.wire for request in server.requests] == ["chat", "chat", "anthropic"]


@pytest.mark.parametrize(
    ("reply", "asked"),
    [(Reply(status=500), 4), (Reply(status=401), 1), (Reply(status=404), 1), (Reply(body="[]", billed=False), 4)],
    ids=["500", "401", "404", "garbage"],
)
async def test_a_fallback_is_asked_after_the_last_attempt_or_a_refusal(reply: Reply, asked: int, serve: Serve) -> None:
    def behaviour(request: Request, n: int) -> Reply:
        return reply if request.wire == "chat" else Reply(text="there", input_tokens=70, output_tokens=7)

    async with billing(behaviour) as server, serve(agent(fallback=(ANTHROPIC,))) as served:
        result = await served.run("a")
    assert (result.outcome, result.output) == ("completed", "there")
    assert [request.wire for request in server.requests] == ["chat"] * asked + ["anthropic"]
    assert (result.by_model[ANTHROPIC].input_tokens, result.by_model[ANTHROPIC].output_tokens) == (70, 7)
    assert server.bill.tokens == 77 <= result.usage.tokens


async def test_a_call_that_hangs_is_given_up_after_step_seconds(serve: Serve) -> None:
    limited = agent(limits=Limits(step_seconds=3), retry=Retry(attempts=2, initial=0.05, maximum=0.1))
    async with billing(always(Reply(text="paid", hang=True))) as server, serve(limited) as served:
        run = await served.start("a")
        result = await served.end(run)
        told = await attempts(served.client, run.id)
        # On a busy machine the server gives one up first; where that was the last, no failure tells of them.
        assert [[each[:2] for each in call] for call in told] in ([[(1, "unknown"), (2, "unknown")]], [])
        await server.until(lambda server: all(request.closed_at is not None for request in server.requests))
    assert (result.outcome, len(server.requests)) == ("unavailable", 2)
    assert "ModelTimeout" in (result.reason or "")
    for request in server.requests:
        assert request.closed_at is not None
        assert request.closed_at - request.at < 25


async def test_a_run_ends_with_its_seconds_whatever_hangs(serve: Serve) -> None:
    async with billing(always(Reply(hang=True))) as server, serve(agent(limits=Limits(seconds=2))) as served:
        began = time.monotonic()
        result = await served.run("a")
        took = time.monotonic() - began
    assert (result.outcome, result.source) == ("unavailable", "notice")
    assert 1 < took < 25
    assert result.reason
    assert len(server.requests) <= 2


async def test_a_run_that_has_begun_answers_from_what_it_knows_when_its_time_is_up(serve: Serve) -> None:
    def behaviour(request: Request, n: int) -> Reply:
        # The first turns at once: on a busy machine slow ones would not fit.
        turn = Reply(tool_calls=[("look", {})], delay=0.3 if n > 3 else 0.0)
        return turn if request.tools else Reply(text="I saw something")

    async with billing(behaviour) as server, serve(agent(limits=Limits(seconds=8))) as served:
        began = time.monotonic()
        result = await served.run("a")
        took = time.monotonic() - began
    assert (result.outcome, result.source, result.output) == ("degraded", "final_answer", "I saw something")
    assert "the time budget of 8 s is spent" in (result.reason or "")
    assert 2 < took < 25
    assert server.requests[-1].tools == []
    assert len(server.requests) > 3
