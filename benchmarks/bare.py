"""What Interlock is compared with: the same loop as plain Temporal workflows, with nothing around it.

``BareSteps`` passes each call what is new, in payloads of given sizes. ``BareConversation`` passes each model
call the whole conversation, as most agents on Temporal do. Both use the SDK's own data converter.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import SandboxImportNotificationPolicy

TIMEOUT = timedelta(seconds=60)
RETRY = RetryPolicy(maximum_attempts=4)


@dataclass(frozen=True)
class Sizes:
    """Bytes of the payload of each input and each result."""

    model_input: int
    model_result: int
    tool_input: int
    tool_result: int


@dataclass(frozen=True)
class Plan:
    steps: int
    sizes: Sizes


@dataclass(frozen=True)
class Call:
    """``text`` fills the payload; ``answer`` is how long the result's is to be."""

    answer: int
    text: str


def filled(size: int, answer: int) -> Call:
    overhead = len(f'{{"answer":{answer},"text":""}}')
    return Call(answer, "x" * (size - overhead))


@activity.defn
async def bare_model(call: Call) -> str:
    return "x" * (call.answer - 2)


@activity.defn
async def bare_tool(call: Call) -> str:
    return "x" * (call.answer - 2)


@workflow.defn
class BareSteps:
    @workflow.run
    async def run(self, plan: Plan) -> str:
        sizes = plan.sizes
        for _ in range(plan.steps):
            await _call(bare_model, filled(sizes.model_input, sizes.model_result))
            await _call(bare_tool, filled(sizes.tool_input, sizes.tool_result))
        return str(await _call(bare_model, filled(sizes.model_input, sizes.model_result)))


@dataclass(frozen=True)
class Asked:
    steps: int
    arguments: str
    result_bytes: int


@activity.defn
async def converse(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The next reply: another call, which the first message holds."""
    return {"role": "assistant", "calls": [{"id": f"call-{len(messages)}", **messages[0]["ask"]}]}


@workflow.defn
class BareConversation:
    @workflow.run
    async def run(self, asked: Asked) -> int:
        ask = {"tool": "read_page", "arguments": asked.arguments}
        messages: list[dict[str, Any]] = [{"role": "user", "content": str(asked.steps), "ask": ask}]
        for _ in range(asked.steps):
            messages.append(await _call(converse, messages))
            result = await _call(bare_tool, Call(asked.result_bytes + 2, asked.arguments))
            messages.append({"role": "tool", "content": result})
        await _call(converse, messages)
        return len(messages)


async def _call(function: Any, argument: Any) -> Any:
    return await workflow.execute_activity(function, argument, start_to_close_timeout=TIMEOUT, retry_policy=RETRY)


@asynccontextmanager
async def serving(client: Client, queue: str) -> AsyncIterator[None]:
    """A worker for these workflows, set up as ``worker.serving`` sets up Interlock's."""
    strict = SandboxRestrictions.default.with_import_notification_policy(
        SandboxImportNotificationPolicy.RAISE_ON_UNINTENTIONAL_PASSTHROUGH
    )
    async with Worker(
        client,
        task_queue=queue,
        workflows=[BareSteps, BareConversation],
        activities=[bare_model, bare_tool, converse],
        workflow_runner=SandboxedWorkflowRunner(restrictions=strict),
        max_cached_workflows=1000,
        max_concurrent_activities=200,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
    ):
        yield
