"""Time-outs, retry policy and summary of each call: the only place that says how patient we are.

Temporal retries; client libraries make one request a try. Every policy is bounded, because an unbounded one
turns a permanent failure into an endless one. Options may change freely, but for the ids among them: they are no part
of a replay.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy, TypedSearchAttributes

from interlock.contracts import AgentTask, ModelCall, Retry, ToolSpec, fairness_key
from interlock.errors import NEVER_RETRIED

# Long, on purpose: with a time-out shorter than an outage of the server, every finished call runs again
# when the server is back, and is paid for again.
HEARTBEAT_TIMEOUT = timedelta(seconds=30)

HEARTBEAT_EVERY = timedelta(seconds=2)
"""How often an activity heartbeats, and the longest a worker holds one back: what Temporal's own cancellation waits
for where the server does not push it. A kill does not. Each is a write to the server, for every call in flight; and it
has to be less than ``CANCEL_PATIENCE``, or nobody would wait for a cancelled call to tell what it may have cost."""

CANCEL_PATIENCE = timedelta(seconds=3)
"""How long an ended run waits for calls in flight to say how they ended. With what it settles afterwards it has to be
less than the ladder of a kill takes to its last rung (``interlock.killing``)."""


def patience(allowed: timedelta) -> float:
    """Seconds an attempt itself waits, a little less than Temporal allows it: so that it still reports, in
    words, that the time was up."""
    seconds = allowed.total_seconds()
    return seconds - min(1.0, seconds / 10)


def _span(seconds: float) -> timedelta:
    """A time-out. Never of no length: Temporal takes that for none at all, and the SDK refuses it in a way that
    fails the workflow task again and again."""
    return timedelta(seconds=max(seconds, 0.01))


def retry_policy(retry: Retry, attempts: int | None = None) -> RetryPolicy:
    """The declarative form of ``retry``. Jitter and Retry-After are added attempt by attempt, by
    ``next_retry_delay``: a ``RetryPolicy`` has neither."""
    return RetryPolicy(
        initial_interval=_span(retry.initial),
        backoff_coefficient=retry.factor,
        maximum_interval=_span(max(retry.maximum, retry.initial)),
        maximum_attempts=retry.attempts if attempts is None else attempts,
        non_retryable_error_types=NEVER_RETRIED,
    )


def turn(task: AgentTask) -> Priority:
    """Where runs and calls wait for a worker: first by the task's priority, then each user in turn, so that 500 runs
    of one do not keep another's single run waiting. Calls say so themselves: they would inherit it from their run, but
    a plain Temporal client starts runs that have none."""
    return Priority(priority_key=task.priority, fairness_key=fairness_key(task.user_id))


RESOLVE_RETRY = Retry(attempts=100, initial=0.2, maximum=5.0)
"""Minutes: a worker that hears nothing of the fleet's switch, as none does for a while after an outage of the server,
refuses new runs, and none should fail of that. Not a time-out: a run that no worker serves waits for one."""


RESOLVE_ELSEWHERE = 8
"""How often an agent is asked for where other workers of the queue may have it: over about ten seconds."""


def resolve_agent(task: AgentTask) -> workflow.ActivityConfig:
    return workflow.ActivityConfig(
        priority=turn(task),
        start_to_close_timeout=timedelta(seconds=20),
        retry_policy=retry_policy(RESOLVE_RETRY),
        summary="resolve the agent",
    )


def model(
    task: AgentTask, call: ModelCall, *, id: str, seconds: float, left: float | None, summary: str
) -> workflow.ActivityConfig:
    return workflow.ActivityConfig(
        priority=turn(task),
        activity_id=id,
        start_to_close_timeout=_span(seconds),
        schedule_to_close_timeout=None if left is None else _span(left),
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=retry_policy(call.retry, call.grant.attempts),
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=summary,
    )


def tool(
    task: AgentTask, spec: ToolSpec, retry: Retry, *, seconds: float, left: float | None, summary: str
) -> workflow.ActivityConfig:
    """A tool with effect ``write`` is tried once: if its fate is unknown, nobody runs it again by itself."""
    return workflow.ActivityConfig(
        priority=turn(task),
        start_to_close_timeout=_span(seconds),
        schedule_to_close_timeout=None if left is None else _span(left),
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=retry_policy(spec.retry or retry, 1 if spec.effect == "write" else None),
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=summary,
    )


PREDICATE_PATIENCE = timedelta(seconds=5)
"""How long a tool may think about whether a call needs approval; after that it does."""


def child_run(id: str, attributes: TypedSearchAttributes, *, summary: str) -> workflow.ChildWorkflowConfig:
    """A run that a run starts. It ends with that one whatever happens to that one: who terminates a run, because it
    hears nothing any more, must not leave others behind that go on spending; and a request to cancel might not be
    heard. A run that ends in order has waited for those that it started."""
    return workflow.ChildWorkflowConfig(
        id=id,
        search_attributes=attributes,
        cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
        parent_close_policy=workflow.ParentClosePolicy.TERMINATE,
        static_summary=summary,
    )


LEASE_PATIENCE = timedelta(seconds=60)
"""How long a run waits for others to bring back money of a shared account."""


LEASE_AGAIN = timedelta(minutes=10)
"""When a run that waits for money which others hold asks for it again."""


def lease(task: AgentTask, account: str, *, left: float | None) -> workflow.ActivityConfig:
    patience = LEASE_PATIENCE if left is None else min(LEASE_PATIENCE, _span(left))
    return workflow.ActivityConfig(
        priority=turn(task),
        start_to_close_timeout=timedelta(seconds=10),
        schedule_to_close_timeout=patience,
        retry_policy=retry_policy(Retry(initial=0.2, factor=1.5, maximum=2.0), attempts=1000),
        summary=f"lease from {account}",
    )


def settle(task: AgentTask, account: str) -> workflow.ActivityConfig:
    return workflow.ActivityConfig(
        priority=turn(task),
        start_to_close_timeout=timedelta(seconds=5),
        schedule_to_close_timeout=timedelta(seconds=30),
        retry_policy=retry_policy(Retry(initial=0.2, maximum=2.0), attempts=20),
        summary=f"settle with {account}",
    )


def audit() -> workflow.ActivityConfig:
    return workflow.ActivityConfig(
        start_to_close_timeout=timedelta(seconds=30),
        retry_policy=retry_policy(Retry(initial=1.0), attempts=5),
        summary="are the runs that hold leases still there?",
    )


def recall(task: AgentTask, *, left: float | None) -> workflow.ActivityConfig:
    seconds = 5.0 if left is None else max(1.0, min(5.0, left))
    return workflow.ActivityConfig(
        priority=turn(task),
        start_to_close_timeout=_span(seconds),
        schedule_to_close_timeout=_span(2 * seconds),
        retry_policy=retry_policy(Retry(initial=0.2, maximum=1.0), attempts=3),
        summary="the last good answer to the same input",
    )


WEBHOOK_PATIENCE = timedelta(seconds=5)
"""How long a webhook may take to answer one post."""

WEBHOOKS_A_MINUTE = 20
"""Posts to the webhook that one worker makes in a minute; the alerts beyond are told of in one, by their number."""

ALERT_RETRY = Retry(attempts=5, initial=1.0, maximum=30.0)
"""How often a post is tried, by an activity or by a worker that cannot reach the server."""


def alert(text: str) -> workflow.ActivityConfig:
    return workflow.ActivityConfig(
        start_to_close_timeout=2 * WEBHOOK_PATIENCE,
        retry_policy=retry_policy(ALERT_RETRY),
        summary=text[:120],
    )


def sweep(summary: str) -> workflow.ActivityConfig:
    """Tried again for as long as it takes: one that is lost begins anew, and finds what is left."""
    return workflow.ActivityConfig(
        start_to_close_timeout=timedelta(hours=1),
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=retry_policy(Retry(initial=0.5, maximum=10.0), attempts=1000),
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
        summary=summary,
    )


MCP_BRIEF_LIFE = timedelta(seconds=60)
"""A connection to an MCP server that ends sooner counts as a failed start."""

MCP_BRIEF_WAIT = timedelta(seconds=2)
"""How long a call waits for the next start of a server to be due; beyond that it fails at once, unsent."""


def mcp_restart_gap(failed: int) -> timedelta:
    """The least time between two starts of one MCP server, after so many failed ones in a row."""
    return timedelta(seconds=min(30.0, 0.25 * 2.0 ** min(failed, 10)))


def mcp_ping(given: float) -> float:
    """Seconds in which an MCP server's process that has not answered a call must at least answer a ping, or it is
    replaced: about as long again as the call was ``given``. One that is only busy for a while keeps its other calls."""
    return min(10.0, max(1.0, given))
