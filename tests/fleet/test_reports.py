"""What a worker tells the fleet: seldom, joined, and none of it is lost while the fleet cannot be reached."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.converter import PayloadCodec

from activities.reports import Reports
from interlock.contracts import FleetState, Kill, Outcomes, Report
from tests.fleet.environment import told
from tests.until import until

KILL = Kill(scope="user", subject="ada", at=datetime.now(UTC))


@dataclass
class Call:
    dependency: str = "d"
    generation: int = 0
    probe: bool = False


def a_fleet() -> str:
    return f"fleet-{uuid.uuid4().hex[:8]}"


async def begin(client: Client, fleet: str) -> None:
    """A ``FleetControl`` that nobody serves: what it is told stays in its history."""
    await client.start_workflow("FleetControl", FleetState(), id=fleet, task_queue=fleet)


@asynccontextmanager
async def telling(client: Client, fleet: str) -> AsyncIterator[Reports]:
    reports = Reports(client, fleet, "here")
    reports.start()
    try:
        yield reports
    finally:
        await reports.stop()


async def heard(client: Client, fleet: str) -> list[Report]:
    return await told(client, fleet, "report", Report)


async def test_at_most_four_reports_a_second_hold_all_that_happened(temporal: Client) -> None:
    fleet = a_fleet()
    await begin(temporal, fleet)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with telling(temporal, fleet) as reports:
        for number in range(60):
            reports.outcome(Call(), failed=number % 3 == 0, error="500" if number % 3 == 0 else "")
            await asyncio.sleep(0.01)
    reported, seconds = await heard(temporal, fleet), loop.time() - began
    assert 2 <= len(reported) <= 2 + 4 * seconds
    assert sum(each.failures for report in reported for each in report.outcomes) == 20
    assert sum(each.successes for report in reported for each in report.outcomes) == 40
    outcomes = [each for report in reported for each in report.outcomes]
    assert all(each.error == ("500" if each.failures else None) for each in outcomes)
    await temporal.get_workflow_handle(fleet).terminate()


async def test_what_cannot_be_delivered_is_kept_and_joined(temporal: Client) -> None:
    fleet = a_fleet()
    async with telling(temporal, fleet) as reports:
        for _ in range(3):
            reports.outcome(Call(), failed=True, error="500")
            reports.stopped(KILL)
            reports.refused(KILL)
            await asyncio.sleep(0.05)  # tried meanwhile: there is no such fleet
        reports.outcome(Call(generation=2, probe=True), failed=None, error="")
        await begin(temporal, fleet)

        async def arrived() -> bool:
            return bool(await heard(temporal, fleet))

        await until(arrived)
    reported = await heard(temporal, fleet)
    assert len(reported) <= 2  # one that was being tried while the fleet began is told by itself
    assert {report.worker for report in reported} == {"here"}
    outcomes = [each for report in reported for each in report.outcomes]
    assert outcomes.pop() == Outcomes(dependency="d", generation=2, probe=True)
    assert sum(each.failures for each in outcomes) == 3
    assert {(each.dependency, each.error, each.generation, each.probe) for each in outcomes} == {("d", "500", 0, False)}
    kills = [each for report in reported for each in report.kills]
    assert {(each.scope, each.subject) for each in kills} == {("user", "ada")}
    assert (sum(each.stopped for each in kills), sum(each.refused for each in kills)) == (3, 3)
    await temporal.get_workflow_handle(fleet).terminate()


async def test_a_report_that_is_broken_off_is_not_counted_twice(temporal: Client) -> None:
    """As when a worker ends while one is on its way: the server may have taken it."""
    fleet = a_fleet()
    await begin(temporal, fleet)
    reports = Reports(temporal, fleet, "here")
    for number in range(1, 21):
        reports.outcome(Call(), failed=True, error="500")
        sending = asyncio.create_task(reports._send())
        await asyncio.sleep(number / 2000)
        sending.cancel()
        await asyncio.wait([sending])
        await reports.stop()
        assert sum(each.failures for report in await heard(temporal, fleet) for each in report.outcomes) == number
    await temporal.get_workflow_handle(fleet).terminate()


class Locked(PayloadCodec):
    """A key that is not there yet."""

    def __init__(self) -> None:
        self.tried = 0
        self.open = False

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        self.tried += 1
        if not self.open:
            raise ValueError("no key")
        return list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return list(payloads)


async def test_nothing_that_goes_wrong_silences_it(temporal: Client) -> None:
    fleet, codec = a_fleet(), Locked()
    await begin(temporal, fleet)
    converter = replace(temporal.data_converter, payload_codec=codec)
    client = Client(temporal.service_client, namespace=temporal.namespace, data_converter=converter)
    async with telling(client, fleet) as reports:
        reports.outcome(Call("x" * 301), failed=True, error="a name that no report can hold")
        reports.outcome(Call(), failed=True, error="500")

        async def tried() -> bool:
            return codec.tried > 0

        await until(tried)
        codec.open = True

        async def arrived() -> bool:
            return bool(await heard(temporal, fleet))

        await until(arrived)
    [report] = await heard(temporal, fleet)
    assert [(each.dependency, each.failures) for each in report.outcomes] == [("d", 1)]
    await temporal.get_workflow_handle(fleet).terminate()
