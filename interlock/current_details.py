"""What the Web UI shows of an open workflow under *Current Details*: made when somebody looks, and not before.

The SDK has a workflow write the text at each change, in case somebody asks. Ours are asked instead: a workflow that has
a method ``current_details`` answers with what that returns. It is a query, and costs no event either way.
"""

from __future__ import annotations

from typing import Any

from temporalio import workflow
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.worker import (
    HandleQueryInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)


class CurrentDetails(Interceptor):
    """For workers: answers for the workflows that have ``current_details() -> str``, which is markdown."""

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        return _Answering


class _Answering(WorkflowInboundInterceptor):
    async def handle_query(self, input: HandleQueryInput) -> Any:
        answer = await self.next.handle_query(input)
        made = getattr(workflow.instance(), "current_details", None)
        if isinstance(answer, WorkflowMetadata) and made is not None:
            answer.current_details = made()
        return answer


__all__ = ["CurrentDetails"]
