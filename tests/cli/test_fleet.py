"""``interlock kills`` and ``interlock breakers``: what is switched off, and how breakers judge."""

from __future__ import annotations

import asyncio
import re

from interlock import Agent, Models, Retry
from interlock.contracts import BreakerSettings
from interlock.testing import ScriptedModel, say
from tests.billing import Reply
from tests.billing.environment import MODELS, billing
from tests.cli.conftest import COMMAND, CommandLine, environment
from tests.cli.terminal import terminal
from tests.conftest import Serve
from tests.fleet.environment import asked, waiting
from tests.root import source_root
from tests.until import until

CHAT = MODELS["chat"]
PAGE = (source_root() / "docs/breakers.md").read_text()
NOWHERE = CommandLine(environment(TEMPORAL_ADDRESS="127.0.0.1:1"))


def quiet(name: str) -> Agent:
    return Agent(name=name, instructions="-", models=ScriptedModel(f"cli-{name}", [say("hi")]).model)


async def test_kills_in_force_are_listed_with_what_they_stopped(serve: Serve, cli: CommandLine) -> None:
    async with serve(waiting("a")) as served:
        mine, fleet = cli.on(served), served.interlock.fleet
        assert (await mine("kills")).out == "nothing is killed\n"
        await served.start("a", user_id="ada")
        other = await served.start("a", user_id="bob")
        await asked("a", 2)
        await other.kill("alone")
        assert (await mine("kill", "--user", "ada", "--reason", "fraud\x1b[31m")).code == 0
        text, as_json = await asyncio.gather(mine("kills"), mine("kills", "--json"))
        assert (text.code, text.err, as_json.code) == (0, "", 0)
        heading, first, second = text.out.splitlines()
        assert heading.split() == ["SUBJECT", "SCOPE", "REASON", "BY", "SINCE", "STOPPED", "REFUSED", "SWEEP"]
        assert first.split()[:3] == ["ada", "user", "fraud[31m"]
        assert first.split()[-1] in ("run", "runs")
        assert second.split()[:3] == [other.id, "run", "alone"]
        [user, single] = as_json.json
        assert (user["scope"], user["subject"], user["stopped"], user["sweep"]["done"]) == ("user", "ada", 1, True)
        assert (single["scope"], single["subject"], single["sweep"]) == ("run", other.id, None)
        async with terminal(mine.environment, *COMMAND, "kills") as screen:
            assert await screen.code() == 0
            await screen.until("fraud")
        kept = (await fleet.view()).kills
    # The workers are gone: what the fleet has published is there still, and what only it knows is not.
    text, as_json = await asyncio.gather(mine("kills"), mine("kills", "--json"))
    assert (text.code, as_json.code) == (0, 0)
    assert "no worker answers; what was stopped and refused is not known" in text.complaint
    assert len(text.out.splitlines()) == len(kept) + 1 == 3
    assert [each["stopped"] for each in as_json.json] == [None, None]


async def test_a_breaker_that_an_outage_opened_is_shown_with_the_error_and_the_next_try(
    serve: Serve, cli: CommandLine
) -> None:
    agent = Agent(
        name="a", instructions="", models=Models(simple=CHAT, medium=CHAT, complex=CHAT), retry=Retry(attempts=1)
    )
    async with billing(lambda request, n: Reply(status=500)) as server, serve(agent) as served:
        mine = cli.on(served)
        before = await mine("breakers")
        assert "no breaker: nothing has failed" in before.out
        assert "failure-threshold 5 · failure-rate 0.5 · " in before.out
        changed = await mine("breakers", "set", "--failure-threshold", "2", "--recovery-seconds", "300", "--json")
        assert (changed.code, changed.json["dependency"]) == (0, None)
        assert changed.json["settings"]["failure_threshold"] == 2
        assert changed.json["settings"]["failure_rate"] == 0.5

        async def configured() -> bool:
            return (await served.interlock.fleet.view()).defaults.failure_threshold == 2

        await until(configured)
        while (await served.interlock.fleet.view()).breaker(CHAT).state == "closed":
            await served.run("a", limits={"seconds": 5})
        assert len(server.requests) == 2

        text, as_json = await asyncio.gather(mine("breakers"), mine("breakers", "--json"))
        assert (text.code, text.err, as_json.code) == (0, "", 0)
        heading, row, *_ = text.out.splitlines()
        assert heading.split("  ")[0] == "DEPENDENCY"
        assert row.split()[:2] == [CHAT, "open"]
        assert " ago " in row
        assert re.search(r" in +(4m|5m 00s)", row)
        assert "ModelUnavailable" in row
        told = as_json.json["breakers"][CHAT]
        assert (told["state"], told["opened"], told["settings"]["failure_threshold"]) == ("open", 1, 2)
        assert told["opened_at"] < told["retry_at"]
        async with terminal(mine.environment, *COMMAND, "breakers") as screen:
            assert await screen.code() == 0
            await screen.until("recovery-seconds 300")
            await screen.until("\x1b[31mopen")
    later = await mine("breakers", "--json")  # no worker is left
    assert (later.code, later.json["breakers"][CHAT]["state"]) == (0, "open")
    unset = await mine("breakers", "set", "--failure-threshold", "9")
    assert unset.code == 1
    assert "no worker answered; start one: python worker.py" in unset.complaint


async def test_one_dependency_gets_settings_of_its_own_and_keeps_what_is_not_given(
    serve: Serve, cli: CommandLine
) -> None:
    async with serve(quiet("settled")) as served:
        mine = cli.on(served)
        first = await mine("breakers", "set", "tool:fetch", "--failure-rate", "0.25", "--window-seconds", "10")
        assert (first.code, first.err) == (0, "")
        assert first.out.startswith("tool:fetch  failure-threshold 5 · failure-rate 0.25 · window-seconds 10 · ")
        second = await mine(
            "breakers", "set", "tool:fetch", "--failure-threshold", "3", "--least-calls", "7", "--window-slices", "5",
            "--recovery-seconds", "1.5", "--recovery-factor", "3", "--recovery-max", "60", "--successes-to-close", "2",
            "--slow-seconds", "0.5", "--json",
        )  # fmt: skip
        assert second.json["settings"] == {
            "failure_threshold": 3,
            "failure_rate": 0.25,
            "window_seconds": 10.0,
            "least_calls": 7,
            "window_slices": 5,
            "recovery_seconds": 1.5,
            "recovery_factor": 3.0,
            "recovery_max": 60.0,
            "successes_to_close": 2,
            "slow_seconds": 0.5,
        }
        shown = (await mine("breakers", "--json")).json
        assert shown["settings"] == {"tool:fetch": second.json["settings"]}
        assert shown["defaults"]["failure_threshold"] == 5


async def test_without_a_fleet_or_a_server_it_says_what_to_do(cli: CommandLine) -> None:
    elsewhere = CommandLine({**cli.environment, "INTERLOCK_FLEET": "no-such-fleet"})
    asked = (("kills",), ("breakers",), ("breakers", "set", "--failure-threshold", "2"), ("release", "--all"))
    nowhere = await asyncio.gather(*(elsewhere(*each) for each in asked))
    serverless = await asyncio.gather(*(NOWHERE(*each) for each in (*asked, ("kill", "--all"))))
    for ran in nowhere:
        assert (ran.code, ran.out) == (1, "")
        assert "no worker has served no-such-fleet here yet" in ran.complaint
        assert "python worker.py" in ran.complaint
    for ran in serverless:
        assert (ran.code, ran.out) == (1, "")
        assert "127.0.0.1:1; start one" in ran.complaint


def test_the_page_has_every_setting_and_its_default() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| `([\d.]+)` \|", PAGE, re.MULTILINE))
    assert told == {name: str(value) for name, value in BreakerSettings().model_dump().items()}
