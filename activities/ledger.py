"""``lease``, ``settle``, ``audit``: a run's way to shared accounts. Updates can only be sent from here."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from weakref import WeakValueDictionary

from temporalio import activity
from temporalio.client import Client, WithStartWorkflowOperation, WorkflowExecutionStatus, WorkflowUpdateFailedError
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError, RPCStatusCode

from interlock import ports
from interlock.accounts import agent_account, ledger_id
from interlock.contracts import (
    AuditCall,
    LeaseCall,
    LeaseReply,
    LedgerState,
    SettleCall,
    SettleReply,
)

IN_FLIGHT = 8
"""Updates a process sends to one ledger at a time. Above ten the server refuses, and everybody backs off: an
account then takes 20 a second instead of 300."""


class LedgerActivities(ports.Ledgers):
    def __init__(self, client: Client) -> None:
        self._client = client
        # Weak: a call that waits or is inside holds its gate, and a worker meets an account for each of its users.
        self._gates: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @activity.defn(name="lease")
    async def lease(self, call: LeaseCall) -> LeaseReply:
        start: WithStartWorkflowOperation[Any, None] = WithStartWorkflowOperation(
            "BudgetLedger",
            LedgerState(account=call.account),
            id=ledger_id(call.account),
            task_queue=activity.info().task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        try:
            async with self._gate(call.account):
                reply: LeaseReply = await self._client.execute_update_with_start_workflow(
                    "lease",
                    call.request,
                    start_workflow_operation=start,
                    # An update of the same id is answered from history: a busy account would stay so. That a
                    # lease is granted once is the ledger's own doing, by the request's key.
                    id=f"{call.request.key}-{activity.info().attempt}",
                    result_type=LeaseReply,
                )
        except WorkflowUpdateFailedError as error:
            raise _refused(error) from error
        if reply.busy and call.request.enough:
            raise _busy(f"the money of {call.account} is held by other runs")
        return reply

    @activity.defn(name="settle")
    async def settle(self, call: SettleCall) -> SettleReply:
        handle = self._client.get_workflow_handle(ledger_id(call.account))
        async with self._gate(call.account):
            reply: SettleReply = await handle.execute_update("settle", call.settlement, result_type=SettleReply)
        return reply

    @activity.defn(name="audit")
    async def audit(self, call: AuditCall) -> list[str]:
        return [name for name in call.runs if await self._ended(name)]

    def _gate(self, account: str) -> asyncio.Semaphore:
        if (gate := self._gates.get(account)) is None:
            self._gates[account] = gate = asyncio.Semaphore(IN_FLIGHT)
        return gate

    async def _ended(self, name: str) -> bool:
        """Whether a run, ``id/execution``, has ended. An id that was used again is another run."""
        run, _, execution = name.rpartition("/")
        if not run:
            run, execution = execution, ""
        try:
            described = await self._client.get_workflow_handle(run, first_execution_run_id=execution or None).describe()
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return True
            raise
        first = described.raw_description.workflow_execution_info.first_run_id
        if execution and first and first != execution:
            return True
        return described.status not in (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.CONTINUED_AS_NEW)


async def start_ledgers(client: Client, agents: Iterable[str], queue: str) -> None:
    """Start the ledger of each agent, where its runs tell what they cost; one that is there already stays."""
    for agent in agents:
        account = agent_account(agent)
        await client.start_workflow(
            "BudgetLedger",
            LedgerState(account=account),
            id=ledger_id(account),
            task_queue=queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )


def _refused(error: WorkflowUpdateFailedError) -> ApplicationError:
    """A refusal is final, unless it says that waiting may help."""
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.type == "AccountBusy":
        return _busy(cause.message)
    return ApplicationError(str(cause), type="BudgetExceeded", non_retryable=True)


def _busy(message: str) -> ApplicationError:
    """Come again, later each time, and not in step with the others that wait."""
    longest = min(4.0, 0.4 * 1.5 ** min(activity.info().attempt, 20))
    return ApplicationError(
        message,
        type="AccountBusy",
        next_retry_delay=timedelta(seconds=random.uniform(0.2, longest)),
        category=ApplicationErrorCategory.BENIGN,
    )
