"""What is documented is exposed, and nothing else is."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import pytest
from pydantic import AfterValidator
from temporalio.client import Client
from temporalio.common import MetricMeter
from temporalio.testing import ActivityEnvironment

from activities.alert import AlertActivity
from activities.alerting import Alerting
from activities.gauges import counting
from interlock import Account, Agent, Limits, Price, tool
from interlock.contracts import Alert
from interlock.errors import BadRequest
from interlock.telemetry.metrics import of_client
from interlock.telemetry.names import METRICS
from interlock.telemetry.runtime import worker_runtime
from interlock.testing import SCRIPTS, Say, ScriptedModel, call, calls, say
from tests.conftest import Serve
from tests.root import source_root
from tests.telemetry.story import AGENT
from tests.telemetry.watched import families, samples, seeing

PRICE = Price(input="3.00", output="15.00")
SLEEPER = Agent(name="sleeper", instructions="", models=ScriptedModel("sleeps", [Say("x", delay=60)], PRICE).model)
POOR = Agent(
    name="poor", instructions="", models=ScriptedModel("dear", [say("x")], PRICE).model, limits=Limits(usd="0.000001")
)
SHARING = Agent(
    name="sharing",
    instructions="",
    models=ScriptedModel("shared-by-all", [say("x", input_tokens=1000, output_tokens=1000)], PRICE).model,
    accounts=[Account("shared-by-all", usd="0.36"), Account("of:{user_id}", usd="9")],
)


def odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError("it is even")
    return number


@tool(effect="read")
def picky(number: Annotated[int, AfterValidator(odd)]) -> str:
    """Take odd numbers; its schema does not say so."""
    return str(number)


CLUMSY = Agent(
    name="clumsy",
    instructions="",
    models=ScriptedModel("clumsy", [calls(call("picky", number=1), call("picky", number=2)), say("x")]).model,
    tools=[picky],
)
USED = ("interlock_ledger_used_ratio", (("account", "shared-by-all"),))
ROW = re.compile(r"^\| `(interlock_\w+)` \| (\w+) \| ([^|]*)\|")


def documented() -> dict[str, tuple[str, set[str]]]:
    rows = (ROW.match(line) for line in (source_root() / "docs/metrics.md").read_text().splitlines())
    return {row[1]: (row[2], set(re.findall(r"`(\w+)`", row[3]))) for row in rows if row is not None}


def worker_meter(client: Client) -> MetricMeter:
    runtime = client.service_client.config.runtime
    assert runtime is not None
    return runtime.metric_meter


@asynccontextmanager
async def exercised(serve: Serve, temporal: Client) -> AsyncIterator[str]:
    """A worker that has met everything there is to count: the address of its metrics."""
    agents = (AGENT, SLEEPER, POOR, SHARING, CLUMSY)
    async with seeing(temporal, metrics=True) as (client, url), serve(*agents, client=client) as served:
        await served.run("story")
        await served.run("poor")
        await served.run("clumsy")
        await served.run("sharing", user_id="ada")
        run = await served.start("sleeper")
        while not SCRIPTS["sleeps"].asked:  # not only on its way: a kill that is faster refuses it
            await asyncio.sleep(0.05)
        await run.kill("enough")
        await served.end(run)
        fleet = of_client(client)
        fleet.breaker_state("scripted:story", "half_open")
        fleet.breaker_transition("scripted:story", "open")
        fleet.kill("user")
        fleet.kill_latency("user", 0.2)
        fleet.mirror_age(1.5)
        apart = ActivityEnvironment(client)
        apart.metric_meter = worker_meter(client)
        dear = Alert(kind="cost_outlier", key="k", text="t")
        await apart.run(AlertActivity(Alerting(client.namespace), fleet).alert, dear)
        async with asyncio.timeout(60), counting(client, agents, fleet):
            # What a run had leased is settled a moment after its end.
            while samples(url).get(USED) != pytest.approx(0.05) or "interlock_approvals_waiting" not in families(url):
                await asyncio.sleep(0.1)
        yield url


async def test_documented_metrics_are_exposed_and_exposed_ones_are_documented(serve: Serve, temporal: Client) -> None:
    async with exercised(serve, temporal) as url:
        exposed, counted = families(url), samples(url)
    assert exposed == documented()
    assert counted[USED] == pytest.approx(0.05)
    assert counted["interlock_grants_refused_total", (("agent", "poor"), ("limit", "usd"))] >= 1
    assert counted["interlock_attempts_lost_total", (("model", "scripted:sleeps"),)] == 1
    assert counted["interlock_breaker_state", (("dependency", "scripted:story"),)] == 1
    # One of the two calls was refused before it was made.
    assert [
        (labels, value)
        for (name, labels), value in counted.items()
        if name == "interlock_tool_calls_total" and ("tool", "picky") in labels
    ] == [((("success", "true"), ("tool", "picky")), 1)]
    # What may yet be counted is there from the start: an increase begins at something.
    assert counted["interlock_kills_total", (("scope", "all"),)] == 0
    assert counted["interlock_alerts_total", (("kind", "mirror_stale"),)] == 0
    assert counted["interlock_breaker_transitions_total", (("dependency", "tool:look"), ("to", "open"))] == 0
    assert counted["interlock_attempts_lost_total", (("model", "scripted:story"),)] == 0
    # No user and no run is a label: neither a name nor a value of one.
    assert not {value for _, labels in counted for _, value in labels if "ada" in value}


def test_every_name_is_in_the_table() -> None:
    suffix = {"counter": "_total", "gauge": "", "histogram": ""}
    known = {f"{each.name}{suffix[each.kind]}": (each.kind, set(each.labels)) for each in METRICS}
    assert known == documented()


@pytest.mark.parametrize("address", ["9464", ":9464", "localhost:", "localhost:http", "localhost:0", "localhost:99999"])
def test_an_address_that_is_none_is_refused_in_words(address: str) -> None:
    with pytest.raises(BadRequest, match="HOST:PORT"):
        worker_runtime(address)


def test_an_address_that_is_taken_is_refused_in_words() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BadRequest, match=re.escape(f"metrics cannot be served on {address}")):
            worker_runtime(address)
