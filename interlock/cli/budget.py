"""``interlock budget``: what is spent of the accounts that runs share, and what may be."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Parameter

from interlock.cli import OK, screen
from interlock.cli.options import AccountName, Allowance, Common, Misused, TaskQueue, valid
from interlock.cli.session import ANSWERED_WITHIN, complain, connected

if TYPE_CHECKING:
    from interlock.client import Interlock, SharedAccount
    from interlock.contracts import LedgerStatus

Window: TypeAlias = Literal["day", "month", "total"]

HELP = (
    "See and set what runs may spend together: a user's, an agent's, the fleet's.\n\n"
    "An agent names its accounts, and what each may spend in a day, a month or in all. An account opens when the first "
    "run takes money from it, or when its limit is set here."
)

MOST = 50
"""Accounts that ``list`` asks; each is a question to a worker."""


def show(account: AccountName, /, *, common: Common = Common()) -> int:  # noqa: B008  # frozen
    """The limit of an account, and what of it is spent, leased to runs under way, and left.

    Money that is leased counts as spent, until the run ends and tells what it really spent.
    """
    name = _named(account)

    async def work(interlock: Interlock) -> int:
        return _show(common, await _patient(interlock.account(name)).status())

    return connected(common, work)


def set_limit(
    account: AccountName,
    /,
    *,
    usd: Allowance,
    window: Annotated[Window, Parameter(help="When it starts anew: each day or month (UTC), or never.")],
    task_queue: TaskQueue = None,
    common: Common = Common(),  # noqa: B008
) -> int:
    """Set the limit of an account, from now on. It takes precedence over what agents declare.

    What is spent stays spent, and what runs hold stays theirs: a lower limit refuses only what is asked for next.
    An account that is not open yet is opened. It holds for the runs whose agent names it among its accounts, and for
    no others.
    """
    name = _named(account)

    async def work(interlock: Interlock) -> int:
        said = await _patient(interlock.account(name)).set_limit(usd, window)
        if not (said.leases or said.spent_usd):
            complain(f"no run has leased from {name} yet: it holds for runs whose agent names it, Agent(accounts=...)")
        return _show(common, said)

    return connected(common, work, task_queue)


def list_accounts(*, common: Common = Common()) -> int:  # noqa: B008
    """The open accounts, by name: at most 50."""

    async def work(interlock: Interlock) -> int:
        from interlock.cli import accounts

        found = [_patient(each) async for each in interlock.accounts(MOST + 1)]
        known = await _known(found[:MOST])
        if common.json:
            screen.write_json([each.model_dump(mode="json") for each in known])
            return OK
        to = screen.console()
        to.print(accounts.table(known, to) if known else "no accounts")
        if len(found) > MOST:
            to.print(f"{MOST} of more; interlock budget show ACCOUNT shows any", style="dim")
        return OK

    return connected(common, work)


async def _known(accounts: list[SharedAccount]) -> list[LedgerStatus]:
    """What the accounts say, by name. Who does not answer is named on stderr; raises where nobody does."""
    from interlock.errors import BadRequest, NoWorker
    from interlock.present import several

    asked = await asyncio.gather(*(each.status() for each in accounts), return_exceptions=True)
    known = [each for each in asked if not isinstance(each, BaseException)]
    silent: list[str] = []
    for account, answer in zip(accounts, asked, strict=True):
        if isinstance(answer, BaseException):
            if not known or not isinstance(answer, NoWorker | BadRequest):
                raise answer
            silent.append(account.name)
    if silent:
        named = ", ".join(sorted(silent)[:3])
        complain(f"no worker answered for {several(len(silent), 'account')}: {named}{' ...' if silent[3:] else ''}")
    return sorted(known, key=lambda each: each.account)


def _named(account: str) -> str:
    """The name of one account, as it may be."""
    from interlock.contracts import ACCOUNT_FIELDS, Account

    for stands_for, such_as in zip(ACCOUNT_FIELDS, ("user:ada", "agent:analyst"), strict=True):
        if stands_for in account:
            raise Misused(f"ACCOUNT: {stands_for} is filled in by each run; name one account, such as {such_as}.")
    return valid(Account, name=account, usd=Decimal(0)).name


def _patient(account: SharedAccount) -> SharedAccount:
    return replace(account, patience=timedelta(seconds=ANSWERED_WITHIN))


def _show(common: Common, said: LedgerStatus) -> int:
    if common.json:
        screen.write_json(said.model_dump(mode="json"))
    else:
        from interlock.cli import accounts

        accounts.show(screen.console(), said)
    return OK
