"""The fleet's breakers, against a provider over HTTP that fails and recovers."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType

from interlock import Agent, Limits, Models, Retry, ToolError, tool
from interlock.contracts import BreakerSettings
from interlock.testing import ScriptedModel, call, calls, say
from tests.billing import Reply, Request
from tests.billing.environment import MODELS, billing
from tests.conftest import Serve, Served, activities
from tests.fleet.environment import QUICK, configured, events, replay_fleet
from tests.until import until

CHAT, ANTHROPIC = MODELS["chat"], MODELS["anthropic"]


def agent(*, fallback: tuple[str, ...] = (), **options: object) -> Agent:
    models = Models(simple=CHAT, medium=CHAT, complex=CHAT, fallback=fallback)
    retry = Retry(attempts=2, initial=0.05, maximum=0.1)
    return Agent(**{"name": "a", "instructions": "", "models": models, "retry": retry, **options})  # type: ignore[arg-type]


class Provider:
    """Fails until it is told otherwise."""

    def __init__(self) -> None:
        self.down = True

    def __call__(self, request: Request, n: int) -> Reply:
        return Reply(status=500) if self.down and request.wire == "chat" else Reply(text="up")


async def open_breaker(served: Served, dependency: str = CHAT, settings: BreakerSettings = QUICK) -> None:
    await configured(served, settings)
    while (await served.interlock.fleet.view()).breaker(dependency).state == "closed":
        await served.run("a", limits={"seconds": 1})


async def test_a_run_waits_for_the_breaker_and_finishes_when_the_provider_is_back(serve: Serve) -> None:
    provider = Provider()
    async with billing(provider) as server, serve(agent(limits=Limits(seconds=120))) as served:
        await open_breaker(served)
        view = (await served.interlock.fleet.view()).breaker(CHAT)
        assert len(server.requests) <= QUICK.failure_threshold + view.opened
        run = await served.start("a")

        async def parked() -> bool:
            return (await run.status()).state == "waiting_breaker"

        await until(parked)
        assert any(CHAT in each for each in (await run.status()).breakers)
        provider.down = False
        assert (await served.end(run)).outcome == "completed"

        async def closed() -> bool:
            return (await served.interlock.fleet.view()).breaker(CHAT).state == "closed"

        await until(closed)
        await replay_fleet(served)


async def test_a_pause_ends_the_wait_for_a_breaker_and_its_time_does_not_count(serve: Serve) -> None:
    async with billing(Provider()), serve(agent(limits=Limits(seconds=3000))) as served:
        await open_breaker(served, settings=BreakerSettings(failure_threshold=3, recovery_seconds=300))
        run = await served.start("a")

        async def parked() -> bool:
            return (await run.status()).state == "waiting_breaker"

        async def paused() -> bool:
            return (await run.status()).state == "paused"

        await until(parked)
        await run.pause("a look")
        await until(paused, 25)
        await run.resume()
        await until(parked)
        await run.kill()
        await served.end(run)


async def test_without_time_to_wait_the_run_steps_down_its_ladder(serve: Serve) -> None:
    async with billing(Provider()) as server, serve(agent()) as served:
        await open_breaker(served, settings=BreakerSettings(failure_threshold=3, recovery_seconds=300))
        before = len(server.requests)
        result = await served.run("a", limits={"seconds": 60})
        assert (result.outcome, result.source) == ("unavailable", "notice")
        assert result.output == "Service temporarily unavailable. Please try again later."
        assert "CircuitOpen" in (result.reason or "")
        assert result.usage.attempts == 0
        assert len(server.requests) == before


async def test_another_provider_is_asked_while_the_first_is_down(serve: Serve) -> None:
    async with billing(Provider()) as server, serve(agent(fallback=(ANTHROPIC,))) as served:
        await served.interlock.fleet.configure(BreakerSettings(failure_threshold=3, recovery_seconds=300))
        for _ in range(4):
            assert (await served.run("a")).outcome == "completed"
        await until(lambda: _opened(served))
        before = [request.wire for request in server.requests].count("chat")
        run = await served.start("a")
        result = await served.end(run)
        assert (result.outcome, list(result.by_model)) == ("completed", [CHAT, ANTHROPIC])
        assert result.by_model[CHAT].attempts == 0
        assert result.by_model[CHAT].usd == 0
        assert [request.wire for request in server.requests].count("chat") == before
        assert await activities(served.client, run.id) == ["resolve_agent", "model", "model"]


async def _opened(served: Served) -> bool:
    return (await served.interlock.fleet.view()).breaker(CHAT).state == "open"


async def test_half_open_is_one_request_of_all_that_wait(serve: Serve) -> None:
    provider = Provider()
    async with billing(provider) as server, serve(agent(limits=Limits(seconds=300))) as served:
        await open_breaker(served)
        runs = [await served.start("a") for _ in range(10)]

        async def several_openings() -> bool:
            return (await served.interlock.fleet.view()).breaker(CHAT).opened >= 2

        await until(several_openings, 120)
        view = (await served.interlock.fleet.view()).breaker(CHAT)
        # Threshold, and one for each time it was tried; one more may be at it now.
        assert len(server.requests) <= QUICK.failure_threshold + view.opened
        provider.down = False
        assert {(await served.end(run)).outcome for run in runs} == {"completed"}


async def test_a_healthy_fleet_sends_no_reports(serve: Serve) -> None:
    fine = ScriptedModel("fine", lambda messages, tools: say("ok"))
    async with serve(Agent(name="a", instructions="", models=fine.model)) as served:
        for _ in range(5):
            await served.run("a")
        signalled = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
        assert await events(served.client, served.interlock.fleet.id, signalled) == 0


async def test_rate_limits_and_refusals_open_nothing(serve: Serve) -> None:
    replies = [Reply(status=429), Reply(status=401), Reply(status=404)] * 6
    async with billing(lambda request, n: replies[n % len(replies)]), serve(agent()) as served:
        await served.interlock.fleet.configure(QUICK)
        for _ in range(4):
            await served.run("a")
        assert (await served.interlock.fleet.view()).breakers == {}


async def test_a_tools_breaker_tells_the_model_until_when(serve: Serve) -> None:
    reached = []

    @tool(effect="read", retry=Retry(attempts=1))
    async def fetch(number: int) -> str:
        """Fetch from what is down."""
        reached.append(number)
        raise ConnectionError("refused")

    @tool(effect="read", retry=Retry(attempts=1))
    async def wrong(number: int) -> str:
        """Run, and report an error."""
        if number % 2:
            raise ToolError("no such thing")
        raise ValueError("a defect of mine")

    model = ScriptedModel(
        "tools",
        [
            *(calls(call("fetch", number=n), call("wrong", number=n)) for n in range(8)),
            say("done"),
        ],
    )
    once = Agent(name="a", instructions="", models=model.model, tools=[fetch, wrong])
    async with serve(once) as served:
        # Until the fleet has opened it, however busy the machine is, the worker itself lets nothing out.
        await configured(served, BreakerSettings(failure_threshold=3, recovery_seconds=300, slow_seconds=30))
        run = await served.start("a")
        await served.end(run)
        messages = (await served.interlock.transcript(run.id)).messages
        told = [each.content for each in messages if each.role == "tool" and each.tool == "fetch"]
        assert reached == [0, 1, 2]
        assert all("ConnectionError: refused" in each for each in told[:3])
        assert all(
            each.startswith("CircuitOpen: the circuit breaker of tool:fetch is open until ") for each in told[3:]
        )
        assert set((await served.interlock.fleet.view()).breakers) == {"tool:fetch"}
        [met] = (await run.status()).breakers
        assert met.startswith("tool:fetch: open until ")
