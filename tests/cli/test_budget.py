"""``interlock budget``: shared accounts seen, and their limits set."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import Client

from interlock import Account, Agent, Interlock, Price
from interlock.accounts import ledger_id
from interlock.errors import BadRequest, NoWorker
from interlock.testing import Say, ScriptedModel, say
from tests.cli.conftest import CommandLine, Ran, environment
from tests.conftest import Serve

PRICE = Price(input="100", output="100")
NOWHERE = CommandLine(environment(TEMPORAL_ADDRESS="127.0.0.1:1"))


def payer(name: str, turn: Say, **options: Any) -> Agent:
    model = ScriptedModel(f"cli-{name}", [turn], PRICE)
    accounts = [Account("user:{user_id}", usd="5.00", window="day")]
    settings: Mapping[str, Any] = {"accounts": accounts, "max_output_tokens": 500, **options}
    return Agent(name=name, instructions="-", models=model.model, **settings)


def someone() -> str:
    return f"ada-{uuid.uuid4().hex[:8]}"


async def listed(cli: CommandLine, name: str, accounts: int) -> tuple[Ran, Ran]:
    """As text and as JSON. The index is eventually consistent: ask until it has them."""
    for _ in range(20):
        text, as_json = await asyncio.gather(cli("budget", "list"), cli("budget", "list", "--json"))
        if text.out.count(name) == as_json.out.count(name) == accounts:
            return text, as_json
        await asyncio.sleep(0.2)
    raise AssertionError(f"{name}: not listed")


def rows(out: str) -> dict[str, str]:
    """The fields of a shown account."""
    return dict(re.split(r" {2,}", line, maxsplit=1) for line in out.splitlines())


async def test_an_account_shows_what_is_leased_and_then_what_is_spent(serve: Serve, cli: CommandLine) -> None:
    slow = payer("slow-payer", Say(text="late", delay=30))
    async with serve(slow, payer("payer", say("Done."))) as served:
        one, other = someone(), someone()
        run, result = await served.start("slow-payer", user_id=one), await served.run("payer", user_id=other)
        while (await run.status()).step == 0 or not (await served.interlock.account(f"user:{one}").status()).leases:
            await asyncio.sleep(0.05)
        held, text, as_json = await asyncio.gather(
            cli("budget", "show", f"user:{one}"),
            cli("budget", "show", f"user:{other}"),
            cli("budget", "show", f"user:{other}", "--json"),
        )
        await run.kill()
        await run.result()
    assert (text.code, text.err) == (0, "")
    spent = result.usage.usd
    assert spent > 0
    shown = rows(text.out)
    assert shown["limit"] == "$5.00 a day"
    assert shown["window ends"].endswith(" 00:00 UTC")
    assert shown["spent"] == f"${spent:.4f}"
    assert shown["leased"] == "$0.0000 by 0 runs"
    assert shown["remaining"] == f"${5 - spent:.4f}"
    assert rows(held.out)["leased"].endswith(" by 1 run")
    assert not rows(held.out)["leased"].startswith("$0.0000")
    assert (as_json.json["account"], as_json.json["limit_usd"]) == (f"user:{other}", "5.00")
    assert Decimal(as_json.json["spent_usd"]) == spent


async def test_a_limit_that_is_set_governs_whatever_agents_declare(serve: Serve, cli: CommandLine) -> None:
    async with serve(payer("bounded", say("Done."))) as served:
        mine, ada = cli.on(served), someone()
        opened = await mine("budget", "set", f"user:{ada}", "--usd", "0", "--window", "month", "-o", "json")
        assert (opened.code, opened.json["limit_usd"], opened.json["window"]) == (0, "0", "month")
        assert f"no run has leased from user:{ada} yet: it holds for runs whose agent names it" in opened.complaint
        refused = await served.run("bounded", user_id=ada)
        assert refused.outcome == "unavailable"
        assert f"account user:{ada}" in (refused.reason or "")
        raised = await mine("budget", "set", f"user:{ada}", "--usd", "2.50", "--window", "total")
        assert rows(raised.out)["limit"] == "$2.50 in all"
        assert "window ends" not in rows(raised.out)
        assert (await served.run("bounded", user_id=ada)).outcome == "completed"
        again = await mine("budget", "set", f"user:{ada}", "--usd", "3", "--window", "total")
        assert (again.code, again.err) == (0, "")


async def test_the_open_accounts_are_listed_by_name(serve: Serve, cli: CommandLine) -> None:
    name = someone()
    async with serve(payer(name, say("Done."))) as served:
        await served.interlock.account(f"user:{name}").set_limit("7.5", "day")
        await served.run(name, user_id=name)
        text, as_json = await listed(cli, name, 2)
        found = [each for each in as_json.json if name in each["account"]]
        assert [each["account"] for each in found] == [f"agent:{name}", f"user:{name}"]
        assert [each["limit_usd"] for each in found] == [None, "7.5"]
        assert (text.code, as_json.code) == (0, 0)
        heading, *lines = text.out.splitlines()
        assert heading.split() == ["ACCOUNT", "LIMIT", "SPENT", "LEASED", "RUNS", "REMAINING", "ENDS"]
        [line] = [line for line in lines if line.startswith(f"user:{name}")]
        assert "$7.50 a day" in line
        agent = await cli("budget", "show", f"agent:{name}")
        assert rows(agent.out)["limit"].startswith("none is set")
        assert rows(agent.out)["runs"].startswith("1 seen, median cost $0.0")


async def test_an_account_that_is_not_there_and_one_that_was_ended(serve: Serve, cli: CommandLine) -> None:
    async with serve(payer("ended", say("Done."))) as served:
        account = served.interlock.account(someone())
        await account.set_limit(3, "day")
        await served.client.get_workflow_handle(ledger_id(account.name)).terminate()
        unknown, ended = await asyncio.gather(
            cli("budget", "show", "no-such account"), cli("budget", "show", account.name)
        )
        assert (unknown.code, ended.code) == (1, 1)
        assert "there is no account 'no-such account'; interlock budget list shows" in unknown.complaint
        assert "interlock budget set 'no-such account' --usd 5.00" in unknown.complaint
        assert "was closed" in ended.complaint
        with pytest.raises(BadRequest, match="usd"):
            await account.set_limit(-1, "day")
        assert (await account.set_limit(4, "day")).limit_usd == 4


async def test_without_a_worker_it_says_so_soon_and_opens_nothing(
    serve: Serve, cli: CommandLine, temporal: Client
) -> None:
    async with serve(payer("gone", say("Done."))) as served:
        account = served.interlock.account(someone())
        await account.set_limit(3, "day")
        queue = served.interlock.queue
    unserved = replace(cli, environment={**cli.environment, "INTERLOCK_TASK_QUEUE": "nobody-polls-this"})
    began = asyncio.get_running_loop().time()
    show, change, new = await asyncio.gather(
        cli("budget", "show", account.name),
        cli("budget", "set", account.name, "--usd", "9", "--window", "day"),
        unserved("budget", "set", f"new-{account.name}", "--usd", "9", "--window", "day"),
    )
    assert asyncio.get_running_loop().time() - began < 15  # three processes at a time; nobody waits for ever
    assert [ran.code for ran in (show, change, new)] == [1, 1, 1]
    assert f"no worker answered; start one (python worker.py) on task queue '{queue}'" in show.complaint
    assert "It may still set the limit: interlock budget show" in change.complaint
    assert "no worker polls task queue 'nobody-polls-this' to keep it; nothing was set" in new.complaint
    with pytest.raises(BadRequest, match="there is no account"):
        await Interlock(temporal).account(f"new-{account.name}").status()
    with pytest.raises(NoWorker):
        await Interlock(temporal).account(account.name).status()


async def test_without_a_server_it_says_where_it_looked() -> None:
    ran = await asyncio.gather(
        NOWHERE("budget", "show", "fleet"),
        NOWHERE("budget", "list"),
        NOWHERE("budget", "set", "fleet", "--usd", "1", "--window", "day"),
    )
    for each in ran:
        assert (each.code, each.out) == (1, "")
        assert "127.0.0.1:1; start one" in each.complaint
