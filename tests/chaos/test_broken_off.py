"""A call whose cancellation its run did not ask for is tried again; the run is not taken for cancelled."""

from __future__ import annotations

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetActivityRequest

from tests.billing import Reply
from tests.billing.behaviours import sequence
from tests.chaos.parked import patient
from tests.conftest import Serve
from tests.runs.priced import billed


async def test_a_call_that_an_operator_resets_is_made_again(serve: Serve) -> None:
    async with billed(sequence([Reply(hang=True), Reply(text="done")])) as provider, serve(patient) as served:
        run = await served.start("patient")
        await provider.until(lambda server: len(server.requests) == 1)
        described = await run.handle.describe()
        [pending] = described.raw_description.pending_activities
        await served.client.workflow_service.reset_activity(
            ResetActivityRequest(
                namespace=served.client.namespace,
                execution=WorkflowExecution(workflow_id=run.id),
                id=pending.activity_id,
            )
        )
        result = await served.end(run)
    assert (result.outcome, result.output) == ("completed", "done")
    # Nobody knows what the first request came to: it is charged.
    assert result.usage.usd >= provider.bill.usd
    assert provider.requests[0].closed_at is not None
