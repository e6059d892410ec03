"""Client code's way to the shared accounts: what is spent of them, and what may be."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowExecutionStatus,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import QueryRejectCondition, WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from interlock.accounts import account_of, ledger_id
from interlock.connection import PATIENCE, no_worker, refused, valid
from interlock.contracts import AccountLimit, LedgerState, LedgerStatus, Window
from interlock.errors import BadRequest, InterlockError, NoWorker
from interlock.pollers import pollers

T = TypeVar("T")

LOOKS = 4


@dataclass(frozen=True)
class SharedAccount:
    """A shared account, by its name. Methods raise ``NoWorker`` or ``BadRequest`` in one line.

    queue     where its ledger is to be opened, if there is none yet
    patience  how long one request waits for an answer"""

    client: Client
    name: str
    queue: str
    patience: timedelta = PATIENCE

    async def status(self) -> LedgerStatus:
        """Its limit, and what is spent, leased and left of it."""
        asked = self.client.get_workflow_handle(ledger_id(self.name)).query(
            "status", result_type=LedgerStatus, reject_condition=QueryRejectCondition.NOT_OPEN
        )
        return await self._ask(asked)

    async def set_limit(self, usd: Decimal | str | int, window: Window) -> LedgerStatus:
        """Set its limit, which takes precedence over what agents declare. Opens the account where it is new."""
        limit = valid(AccountLimit, usd=usd, window=window)
        if not await self._ask(self._is_open()) and not await self._ask(self._is_served()):
            # A ledger stays on the queue where it was opened. On one that nobody serves, every run would wait for it.
            raise NoWorker(
                f"account {self.name} is new, and no worker polls task queue {self.queue!r} to keep it; nothing was "
                f"set. Start one: python worker.py --task-queue {self.queue}"
            )
        start: WithStartWorkflowOperation[Any, None] = WithStartWorkflowOperation(
            "BudgetLedger",
            LedgerState(account=self.name),
            id=ledger_id(self.name),
            task_queue=self.queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        asked: Awaitable[LedgerStatus] = self.client.execute_update_with_start_workflow(
            "set_limit", limit, start_workflow_operation=start, result_type=LedgerStatus
        )
        try:
            return await self._ask(asked)
        except NoWorker as error:
            raise NoWorker(
                f"{error}. It may still set the limit: interlock budget show {shlex.quote(self.name)} tells"
            ) from None

    async def _is_open(self) -> bool:
        try:
            described = await self.client.get_workflow_handle(ledger_id(self.name)).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND and not error.message.startswith("Namespace "):
                return False
            raise
        return described.status is WorkflowExecutionStatus.RUNNING

    async def _is_served(self) -> bool:
        """Whether a worker polls the queue. One that has only just started is listed a moment later."""
        for _ in range(LOOKS):
            if await pollers(self.client, self.queue, "workflow"):
                return True
            await asyncio.sleep(0.3)
        return False

    async def _ask(self, request: Awaitable[T]) -> T:
        what = f"account {self.name}"
        try:
            return await asyncio.wait_for(request, self.patience.total_seconds())
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
            raise no_worker(what, await self._kept_on()) from error
        except WorkflowUpdateFailedError as error:
            raise BadRequest(getattr(error.cause, "message", "") or str(error.cause)) from error
        except WorkflowQueryRejectedError as error:
            raise BadRequest(f"{what} was closed: its ledger was ended from outside; {self._opened_by}") from error
        except WorkflowQueryFailedError as error:
            raise BadRequest(f"{what}: {error}") from error
        except RPCError as error:
            raise refused(error, what, self._missing) from error

    async def _kept_on(self) -> str:
        """The task queue that its ledger listens on, as far as the server says."""
        handle = self.client.get_workflow_handle(ledger_id(self.name))
        try:
            return (await handle.describe(rpc_timeout=timedelta(seconds=1))).task_queue
        except RPCError:
            return self.queue

    @property
    def _missing(self) -> InterlockError:
        return BadRequest(
            f"there is no account {self.name!r}; interlock budget list shows what there is. It opens when "
            f"{self._opened_by}"
        )

    @property
    def _opened_by(self) -> str:
        return f"a run leases from it, or with interlock budget set {shlex.quote(self.name)} --usd 5.00 --window day"


async def open_accounts(
    client: Client, queue: str, most: int, patience: timedelta = PATIENCE
) -> AsyncIterator[SharedAccount]:
    """The accounts that are open, in no order. No worker is asked."""
    where = "WorkflowType = 'BudgetLedger' AND ExecutionStatus = 'Running'"
    try:
        async for found in client.list_workflows(where, limit=most, rpc_timeout=PATIENCE):
            yield SharedAccount(client, account_of(found.id), queue, patience)
    except RPCError as error:
        raise refused(error, "the accounts", BadRequest(error.message)) from error
