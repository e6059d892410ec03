"""What ``interlock top`` asks of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

from temporalio.client import WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.common import QueryRejectCondition
from temporalio.service import RPCError, RPCStatusCode

from interlock import search_attributes as sa
from interlock.cli.index import Found
from interlock.client import Interlock
from interlock.connection import PATIENCE
from interlock.contracts import FleetStatus, LedgerStatus
from interlock.errors import InterlockError
from interlock.top.rows import URGENT

T = TypeVar("T")

OPEN = "WorkflowType = 'AgentRun' AND ExecutionStatus = 'Running'"
MOST = 1000
"""Runs that are listed; the totals count all."""

ACCOUNTS = 20
"""Accounts that are asked; each is a question to a worker."""

ANSWERS_WITHIN = timedelta(seconds=2.5)


class Unreachable(Exception):
    """The server does not answer, or not what was asked; the text says so, in one line."""


@dataclass(frozen=True)
class Open:
    """The open runs: how many, how many in each state, and the newest of them."""

    count: int
    by_state: Mapping[str, int]
    runs: tuple[Found, ...]


@dataclass(frozen=True)
class Source:
    interlock: Interlock

    @property
    def where(self) -> str:
        client = self.interlock.client
        return f"{client.service_client.config.target_host} · {client.namespace}"

    async def open_runs(self) -> Open:
        """One list and a few counts, all from the index. Raises ``Unreachable``."""
        states = [f"{OPEN} AND {sa.AGENT_STATE.name} = '{state}'" for state in URGENT]
        runs, count, *counts = await reached(
            asyncio.gather(self._listed(), *(self._counted(query) for query in (OPEN, *states)))
        )
        assert isinstance(runs, tuple)
        numbers = [each for each in (count, *counts) if isinstance(each, int)]
        return Open(numbers[0], dict(zip(URGENT, numbers[1:], strict=True)), runs)

    async def _listed(self) -> tuple[Found, ...]:
        listed = self.interlock.client.list_workflows(OPEN, limit=MOST, rpc_timeout=PATIENCE)
        return tuple([Found.of(each) async for each in listed])

    async def _counted(self, query: str) -> int:
        return (await self.interlock.client.count_workflows(query, rpc_timeout=PATIENCE)).count

    async def fleet(self) -> FleetStatus | str:
        """Kills in force and breakers; or, in words, why they are not known. Raises ``Unreachable``."""
        asked: Awaitable[FleetStatus] = self.interlock.client.get_workflow_handle(self.interlock.fleet.id).query(
            "status",
            result_type=FleetStatus,
            reject_condition=QueryRejectCondition.NOT_OPEN,
            rpc_timeout=ANSWERS_WITHIN,
        )
        try:
            return await asked
        except (WorkflowQueryRejectedError, WorkflowQueryFailedError) as error:
            return f"the fleet control does not answer: {error}"
        except RPCError as error:
            match error.status:
                case RPCStatusCode.NOT_FOUND:
                    return "no fleet control yet"
                case RPCStatusCode.UNAVAILABLE:
                    raise Unreachable(f"the server does not answer: {error.message}") from error
                case _:
                    return "no worker answers for the fleet control"

    async def accounts(self) -> list[LedgerStatus | str]:
        """What is spent of each shared account; of one that does not answer, why. Raises ``Unreachable``."""
        open_accounts = [
            replace(account, patience=ANSWERS_WITHIN) async for account in self.interlock.accounts(ACCOUNTS)
        ]
        at_a_time = asyncio.Semaphore(8)

        async def ask(number: int) -> LedgerStatus | str:
            async with at_a_time:
                try:
                    return await open_accounts[number].status()
                except InterlockError as error:
                    return str(error)

        return list(await asyncio.gather(*(ask(number) for number in range(len(open_accounts)))))


async def reached(asked: Awaitable[T]) -> T:
    """An answer of the server. Raises ``Unreachable``."""
    try:
        return await asked
    except RPCError as error:
        gone = error.status in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)
        raise Unreachable(f"the server {'does not answer' if gone else 'refused'}: {error.message}") from error
