"""Agents as tools: a call of another agent is a run of it, started, fed, followed and ended by this one.

What it may spend is taken out of what this run has left; kill, cancellation, pause and resumption of this run reach
it; what it says is the result of the call. A run that ends while one that it started does not (it was terminated, or
had waited long enough) takes that one with it: the server terminates it, and nothing goes on spending.
"""

from __future__ import annotations

import asyncio
import hashlib
import json

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import FailureError

from interlock import options
from interlock import search_attributes as sa
from interlock.contracts import (
    AgentResult,
    AgentTask,
    CallPart,
    Limits,
    ParentRun,
    ToolResult,
    ToolSpec,
    input_hash,
)
from interlock.policies import children, limit
from interlock.policies.budget import Refusal
from interlock.policies.children import Ended
from workflows import charging, grants
from workflows.child import Child, how_ended
from workflows.following import follow
from workflows.run_state import Run


async def perform(run: Run, spec: ToolSpec, call: CallPart) -> ToolResult:
    """Run the agent that ``spec`` stands for. Raises ``CancelledError`` when this run ends meanwhile."""
    agent = spec.agent or spec.name
    if (why := children.too_deep(_depth(run), run.spec.depth)) is not None:
        run.report.over(call.call_id)
        return ToolResult(content=f"ToolFailed: {agent} was not started: {why}", is_error=True)
    try:
        given = await _given(run, spec)
        run.go_on()
    except asyncio.CancelledError:
        run.report.never_begun(call.call_id)
        raise
    if isinstance(given, Refusal):
        run.report.over(call.call_id)
        return ToolResult(content=f"Not run: {given.reason}.", is_error=True)
    child = Child(id=_id(call, run.spec.longest_id), agent=agent, given=given)
    run.children[call.call_id] = child
    following = asyncio.create_task(follow(run, child))
    try:
        ended, cut_off = await until_ended(run, child, asyncio.create_task(_work(child, _task(run, call, child))))
    except BaseException:
        following.cancel()
        raise
    child.over = True
    charging.child_ended(run, call.call_id, ended)
    if cut_off:
        following.cancel()
        raise asyncio.CancelledError
    await following
    content, is_error = children.told(agent, ended)
    return ToolResult(content=children.fitting(content, spec.max_result_bytes, child.id), is_error=is_error)


async def _given(run: Run, spec: ToolSpec) -> Limits | Refusal:
    """What the other run may use. Those that are asked for in one reply come forward first, and share."""
    run.asking += 1
    try:
        await asyncio.sleep(0)
        limits, spent = run.limits, run.committed
        calls = None if limits.tool_calls is None else limits.tool_calls - spent.tool_calls
        seconds = limit.seconds_left(limits, spent, limit.seconds_held_back(limits, begun=True))
        return children.carve(
            spec.agent_limits or Limits(), grants.to_give(run), seconds=seconds, tool_calls=calls, among=run.asking
        )
    finally:
        run.asking -= 1


# -- its beginning ----------------------------------------------------------------------------------------------


def _depth(run: Run) -> int:
    return 0 if run.task.parent is None else run.task.parent.depth


def _id(call: CallPart, longest: int) -> str:
    """``analyst-why-did-checkout-fail-3f2a9c-s2c1``: what it belongs to, and which call of it this is."""
    parent = workflow.info().workflow_id
    if len(parent) > longest:
        parent = f"{parent[:100]}-{hashlib.sha256(parent.encode()).hexdigest()[:16]}"
    return f"{parent}-{call.call_id}"


def _task(run: Run, call: CallPart, child: Child) -> AgentTask:
    asked = str(json.loads(call.arguments)["input"])
    return AgentTask(
        agent=child.agent,
        input=asked.encode(errors="replace").decode(),  # half a character fits no payload
        user_id=run.task.user_id,
        limits=child.given,
        metadata=run.task.metadata,
        parent=ParentRun(
            run=workflow.info().workflow_id,
            call_id=call.call_id,
            depth=_depth(run) + 1,
            accounts=tuple(leased.account for leased in run.leases),
            begun=run.first_begun,
        ),
    )


def _attributes(task: AgentTask) -> TypedSearchAttributes:
    """So that it is found by its agent and user, and swept by a kill, also while it waits for a worker."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(sa.AGENT_NAME, task.agent),
            SearchAttributePair(sa.AGENT_USER, task.user_id),
            SearchAttributePair(sa.AGENT_STATE, "starting"),
            SearchAttributePair(sa.AGENT_INPUT_HASH, input_hash(task.agent, task.input)),
        ]
    )


# -- its end ----------------------------------------------------------------------------------------------------


async def until_ended(run: Run, child: Child, work: asyncio.Task[Ended]) -> tuple[Ended, bool]:
    """How it ended; and whether this run is killed or cancelled, and has only waited for it to say so."""
    cut_off = False
    while True:
        try:
            return await asyncio.shield(work), cut_off
        except asyncio.CancelledError:
            if work.cancelled():
                raise  # this worker gives the run up; or the other one was never started
            if work.done():  # it ended in the task in which this run is
                return work.result(), True
        if not cut_off:
            cut_off = True
            await _end(run, child, work)


async def _work(child: Child, task: AgentTask) -> Ended:
    try:
        handle = await workflow.start_child_workflow(
            "AgentRun",
            task,
            result_type=AgentResult,
            **options.child_run(child.id, _attributes(task), summary=" ".join(task.input.split())[:120]),
        )
        child.started = True
        return Ended("result", result=await handle)
    except FailureError as error:
        return how_ended(child, error)


async def _end(run: Run, child: Child, work: asyncio.Task[Ended]) -> None:
    """End it as this run ends. A kill is told, so that it tells what it had done; its cancellation would outrank
    nothing there, and no signal reaches one that is not there yet."""
    if run.killed is None:
        work.cancel()
        return
    await workflow.wait_condition(lambda: child.started or work.done())
    await child.tell("kill", run.killed)
