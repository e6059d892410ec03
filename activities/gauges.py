"""What no single run can count: runs that wait for a person, and how full shared accounts are. Asked of the server
now and then, while somebody can see the answer; whatever goes wrong, the figures are older, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog
from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.service import RPCError

from interlock.accounts import agent_account, ledger_id
from interlock.agents import Agent
from interlock.contracts import LedgerStatus
from interlock.telemetry import names
from interlock.telemetry.metrics import WorkerMetrics

log = structlog.get_logger("interlock.gauges")

EVERY = timedelta(seconds=15)
PATIENCE = timedelta(seconds=5)


@asynccontextmanager
async def counting(
    client: Client, agents: Sequence[Agent], metrics: WorkerMetrics, every: timedelta = EVERY
) -> AsyncIterator[None]:
    """Keep the gauges of ``agents`` up to date while the block runs."""
    ours = sorted(agent.name for agent in agents)
    # Accounts of users are as many as there are users: they are no labels.
    accounts = {agent_account(name) for name in ours}
    accounts |= {each.name for agent in agents for each in agent.accounts if "{" not in each.name}

    async def count() -> None:
        while True:
            for name in ours:
                await _approvals(client, name, metrics)
            for account in sorted(accounts):
                await _ledger(client, account, metrics)
            await asyncio.sleep(every.total_seconds())

    task = asyncio.create_task(count())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _approvals(client: Client, agent: str, metrics: WorkerMetrics) -> None:
    where = f"AgentState = 'waiting_approval' AND AgentName = '{agent}' AND ExecutionStatus = 'Running'"
    try:
        found = await client.count_workflows(where, rpc_timeout=PATIENCE)
    except Exception as error:  # noqa: BLE001  # one that is not foreseen must not end the others
        _failed(error, gauge="approvals_waiting", agent=agent)
        return
    metrics.approvals_waiting(agent, found.count)


async def _ledger(client: Client, account: str, metrics: WorkerMetrics) -> None:
    """An account that nobody has leased from has no ledger, one without a limit no ratio."""
    handle = client.get_workflow_handle(ledger_id(account))
    try:
        status = await handle.query("status", result_type=LedgerStatus, rpc_timeout=PATIENCE)
    except Exception as error:  # noqa: BLE001  # one that is not foreseen must not end the others
        _failed(error, gauge="ledger_used_ratio", account=account)
        return
    if status.limit_usd:
        metrics.ledger_used(account, float((status.spent_usd + status.leased_usd) / status.limit_usd))


def _failed(error: Exception, **whose: str) -> None:
    """A server that is away, or knows no such ledger, is nothing to tell of at every look."""
    foreseen = isinstance(error, RPCError | TimeoutError | WorkflowQueryFailedError)
    tell = log.debug if foreseen else log.warning
    tell(names.GAUGE_FAILED, **whose, error=str(error) if foreseen else f"{type(error).__name__}: {error}")
