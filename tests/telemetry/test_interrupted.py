"""A task of a workflow that takes longer than the SDK allows is interrupted and tried again: nothing has ended."""

from __future__ import annotations

import time
import uuid

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from tests.telemetry.watched import seeing, spans
from workflows.around import stage

interrupted: list[str] = []


@workflow.defn
class Standing:
    @workflow.run
    async def run(self) -> str:
        with stage("standing"):
            if not interrupted:
                interrupted.append("once")
                until = time.monotonic() + 4  # as a machine does that has other work, and the SDK waits two
                while time.monotonic() < until:
                    pass
        return "went on"


async def test_an_interrupted_task_ends_no_span(temporal: Client) -> None:
    queue = f"standing-{uuid.uuid4().hex}"
    with spans() as found:
        async with (
            seeing(temporal) as (client, _),
            Worker(client, task_queue=queue, workflows=[Standing], workflow_runner=UnsandboxedWorkflowRunner()),
        ):
            said = await client.execute_workflow(Standing.run, id=queue, task_queue=queue)
        ended = [each for each in found.get_finished_spans() if each.name == "standing"]
    assert (said, interrupted) == ("went on", ["once"])
    assert [each.status.is_unset for each in ended] == [True]
