"""A bad deploy: what a run has done so far is not what this ``AgentRun`` would have. Each of its tasks fails."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow


@workflow.defn(name="AgentRun")
class Incompatible:
    @workflow.run
    async def run(self, *args: Any) -> None:
        await workflow.sleep(timedelta(hours=1))
