"""The beginning of a run: its agent is resolved once and recorded, so that a deploy never changes a run under way."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from interlock import options, ports
from interlock.contracts import ResolveAgent
from interlock.policies import children
from workflows.killed import stopped
from workflows.run_state import Run


async def resolve(run: Run) -> None:
    """Raises ``ApplicationError`` where the run cannot begin."""
    ask = ResolveAgent(agent=run.task.agent, user_id=run.task.user_id, begun=run.first_begun)
    try:
        spec = await workflow.execute_activity_method(
            ports.Agents.resolve_agent, ask, **options.resolve_agent(run.task)
        )
    except ActivityError as error:
        if stopped(run, error):
            raise asyncio.CancelledError from error
        if isinstance(error.cause, ApplicationError):
            # Under its own name: a run that cannot begin fails as UnknownAgent, not as an activity's error.
            raise ApplicationError(error.cause.message, type=error.cause.type, non_retryable=True) from error
        raise
    try:
        limits = children.limits_of(spec.limits, run.task)
    except ValueError as error:
        raise ApplicationError(f"invalid task: {error}", type="InvalidTask", non_retryable=True) from error
    run.resolve(spec, limits)
    run.enter("paused" if run.paused else "running")
