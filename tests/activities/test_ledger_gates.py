"""How many updates a worker sends to one ledger at a time, and what it keeps of accounts it has met."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, cast

from temporalio.client import Client

from activities.ledger import IN_FLIGHT, LedgerActivities
from interlock.contracts import SettleCall, Settlement, SettleReply


class Busy:
    """As much of a client as settling asks for; counts how many updates each ledger has at once."""

    def __init__(self) -> None:
        self.now, self.most = Counter[str](), Counter[str]()

    def get_workflow_handle(self, id: str) -> Any:
        return Ledger(self, id)

    @contextmanager
    def update(self, id: str) -> Iterator[None]:
        self.now[id] += 1
        self.most[id] = max(self.most[id], self.now[id])
        yield
        self.now[id] -= 1


class Ledger:
    def __init__(self, busy: Busy, id: str) -> None:
        self._busy, self._id = busy, id

    async def execute_update(self, *_: Any, **__: Any) -> SettleReply:
        with self._busy.update(self._id):
            for _turn in range(5):
                await asyncio.sleep(0)
                gc.collect(0)
        return SettleReply(spent_usd=Decimal(1), remaining_usd=Decimal(1))


def settle(account: str) -> SettleCall:
    return SettleCall(account=account, settlement=Settlement(run="r", spent_usd=Decimal(1)))


async def test_a_ledger_is_sent_a_few_updates_at_a_time_and_others_do_not_wait_for_it() -> None:
    busy = Busy()
    ledgers = LedgerActivities(cast("Client", busy))
    calls = [ledgers.settle(settle(account)) for _ in range(3 * IN_FLIGHT) for account in ("user:a", "user:b")]
    await asyncio.gather(*calls)
    assert list(busy.most.values()) == [IN_FLIGHT, IN_FLIGHT]


async def test_nothing_is_kept_of_accounts_that_no_call_is_about() -> None:
    ledgers = LedgerActivities(cast("Client", Busy()))
    for number in range(100):
        await ledgers.settle(settle(f"user:{number}"))
    gc.collect()
    assert len(ledgers._gates) == 0
