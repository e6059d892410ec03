"""``interlock top``: over hundreds of runs, with each of its keys, at a real terminal, and with its server gone."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from temporalio.client import Client
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Static

from interlock import Account, Agent, AgentTask, Interlock, Price, tool
from interlock.client import Run
from interlock.converter import data_converter
from interlock.embedded import free_port, start_server
from interlock.testing import Say, ScriptedModel, call, say, temporal_server
from interlock.top.app import Top
from interlock.top.screens import Ask, Reading
from tests.cli.conftest import COMMAND, CommandLine
from tests.cli.terminal import terminal
from tests.conftest import Serve
from tests.runs.world import World, agent, told, waits
from tests.sizes import sized

WIDE = (160, 44)


@tool(effect="read")
async def look() -> str:
    """Look."""
    return "seen [bold]this[/bold]"


@pytest.fixture(scope="module")
async def own() -> AsyncIterator[Client]:
    """A server of our own: what is open on it is known."""
    async with temporal_server() as environment:
        yield environment.client


@asynccontextmanager
async def watched(client: Client) -> AsyncIterator[tuple[Top, Pilot[None]]]:
    top = Top(Interlock(client), "ada")
    async with top.run_test(size=WIDE, notifications=True) as pilot:
        yield top, pilot


async def until(top: Top, pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    """Wait for a condition; where it does not come, say what is on the screen."""
    try:
        async with asyncio.timeout(40):
            while not condition():
                await pilot.pause(0.15)
    except TimeoutError:
        panels = [text(top, selector) for selector in ("#totals", "#problem", "#panel-run", "#panel-accounts")]
        said = "\n".join((*panels, notices(top), above(top), *(" ".join(row) for row in shown(top)[:5])))
        raise AssertionError(f"on the screen:\n{said}") from None


def shown(top: Top) -> list[list[str]]:
    """The cells of the table, as text."""
    table = top.screen_stack[0].query_one("#runs", DataTable)
    return [[str(cell) for cell in table.get_row_at(row)] for row in range(table.row_count)]


def text(top: Top, selector: str) -> str:
    return str(top.screen_stack[0].query_one(selector, Static).render())


def above(top: Top) -> str:
    """All that the screen above the table says."""
    return "\n".join(str(each.render()) for each in top.screen.query(Static))


def notices(top: Top) -> str:
    return "\n".join(notice.message for notice in top._notifications)


async def go_to(top: Top, pilot: Pilot[None], run: Run) -> None:
    """Put the cursor on a run, by its filter."""
    await pilot.press("slash")
    field = top.query_one("#filter", Input)
    field.value = run.id
    await until(top, pilot, lambda: len(shown(top)) == 1 and run.id[-7:] in shown(top)[0][0])
    await pilot.press("enter")


MANY = sized(200, 40)


async def test_hundreds_of_runs_are_listed_counted_filtered_and_sorted_without_asking_each(own: Client) -> None:
    queue = f"nobody-{uuid.uuid4().hex[:6]}"
    interlock = Interlock(own, queue)
    side_by_side = asyncio.Semaphore(8)

    async def begun(number: int) -> Run:
        async with side_by_side:
            task = AgentTask(agent="waiter", input=f"number {number}", user_id=f"user-{number % 4}")
            return await interlock.start(task)

    async def ended(run: Run) -> None:
        async with side_by_side:
            await run.handle.terminate()

    runs = await asyncio.gather(*(begun(number) for number in range(MANY)))
    async with watched(own) as (top, pilot):
        everything = f"{MANY} open · {MANY} starting"  # the list and the counts are asked for side by side
        await until(top, pilot, lambda: text(top, "#totals").startswith(everything) and len(shown(top)) == MANY)
        assert shown(top)[0][1] == "starting"
        await pilot.press("slash", *"user-3 waiter")
        await until(top, pilot, lambda: len(shown(top)) == MANY // 4)
        assert {row[6] for row in shown(top)} == {"user-3"}
        assert f"{MANY // 4} shown" in text(top, "#totals")
        await pilot.press("escape")
        await until(top, pilot, lambda: len(shown(top)) == MANY)
        for _ in range(4):
            await pilot.press("s")
        assert "sorted by run" in text(top, "#totals")
        ids = [row[0] for row in shown(top)]
        assert ids == sorted(ids)
        # No worker is there to answer: the panel says what the index knows.
        await until(top, pilot, lambda: "no worker answered" in text(top, "#panel-run"))
        assert text(top, "#panel-breakers") == text(top, "#panel-kills") == "no fleet control yet"
        # The cursor stays on its run while others come and go.
        await pilot.press("down", "down", "down")
        selected = top._selected
        assert selected is not None
        await asyncio.gather(*(ended(run) for run in runs if run.id != selected.run))
        await until(top, pilot, lambda: len(shown(top)) == 1)
        still = top._selected
        assert still == selected
        await interlock.get(selected.run).handle.terminate()
        await until(top, pilot, lambda: text(top, "#panel-run") == "no run is open")
        await until(top, pilot, lambda: text(top, "#totals").startswith("0 open"))


async def test_an_answer_that_comes_while_it_ends_is_no_failure(serve: Serve, own: Client) -> None:
    """As an app that ends does, widgets are taken down while it looks."""
    waits = Agent(name="waits", instructions="", models=ScriptedModel("top-ends", [Say("late", delay=60)]).model)
    async with serve(waits, client=own) as served:
        run = await served.start("waits")
        async with watched(own) as (top, pilot):
            await until(top, pilot, lambda: run.id[-7:] in text(top, "#panel-run"))
            await top.query_one("#beside").remove_children()
            async with asyncio.timeout(40):
                while sum(each.is_running for each in top.workers) > 1:  # the table's goes on: the table is there
                    await pilot.pause(0.05)
        await run.kill()


async def test_a_run_is_read_paused_resumed_and_killed_once_that_is_confirmed(serve: Serve, own: Client) -> None:
    price = Price(input="10", output="50")
    slow = ScriptedModel("top-slow", [call("look"), Say(text="late", delay=60)], price)
    accounts = [Account("top-account", usd="5")]
    agent = Agent(
        name="slow", instructions="Be [red]slow[/red].", models=slow.model, tools=[look], accounts=accounts,
        max_output_tokens=200,
    )  # fmt: skip
    async with serve(agent, client=own) as served, watched(own) as (top, pilot):
        run = await served.start("slow", "Why [bold]so[/bold] slow?", user_id="ada", limits={"usd": "0.50"})
        other = await served.start("slow")
        await until(top, pilot, lambda: len(shown(top)) == 2)
        await go_to(top, pilot, run)
        await until(top, pilot, lambda: "usd" in text(top, "#panel-run") and "0.50" in text(top, "#panel-run"))
        await until(top, pilot, lambda: shown(top)[0][3].endswith(" of $0.5"))
        await until(top, pilot, lambda: "top-account" in text(top, "#panel-accounts"))

        await pilot.press("enter")
        await until(top, pilot, lambda: isinstance(top.screen, Reading) and "Why [bold]so[/bold] slow?" in above(top))
        assert "Be [red]slow[/red]." in above(top)
        await pilot.press("k")
        assert isinstance(top.screen, Reading)  # the keys of the table are for the table
        await pilot.press("escape", "t")
        await until(top, pilot, lambda: isinstance(top.screen, Reading) and "agent.step.1" in above(top))
        assert "invoke_agent slow" in above(top)
        await pilot.press("q")

        await pilot.press("p")
        while (await run.status()).reason != "from interlock top":
            await asyncio.sleep(0.05)
        await until(top, pilot, lambda: "waits before its next call" in notices(top))

        await pilot.press("k")
        await until(top, pilot, lambda: isinstance(top.screen, Ask))
        assert f"Kill {run.id}?" in above(top)
        await pilot.press("n")
        await until(top, pilot, lambda: not isinstance(top.screen, Ask))
        await pilot.press("k")
        await until(top, pilot, lambda: isinstance(top.screen, Ask))
        await pilot.press("y")
        result = await served.end(run)
        assert (result.outcome, result.reason) == ("killed", "from interlock top (by ada)")
        await pilot.press("escape")
        await until(top, pilot, lambda: len(shown(top)) == 1)
        assert (await other.status()).state == "running"  # the first "no" was one
        await other.kill()
        await served.end(other)


async def test_a_paused_run_goes_on_and_where_nothing_waits_there_is_nothing_to_approve(
    serve: Serve, own: Client
) -> None:
    held = asyncio.Event()

    @tool(effect="read")
    async def hold() -> str:
        """Wait."""
        await held.wait()
        return "held"

    model = ScriptedModel("top-held", [call("hold"), say("done")])
    async with serve(Agent(name="held", instructions="-", models=model.model, tools=[hold]), client=own) as served:
        run = await served.start("held")
        await run.pause("lunch", "bob")
        held.set()
        async with watched(own) as (top, pilot):
            await until(top, pilot, lambda: [row[1] for row in shown(top)] == ["paused"])
            assert text(top, "#totals").startswith("1 open · 1 paused")
            await pilot.press("a")
            await until(top, pilot, lambda: f"nothing waits for a decision in {run.id}" in notices(top))
            await pilot.press("p")
            assert (await served.end(run)).output == "done"
            await until(top, pilot, lambda: shown(top) == [])


def asks(top: Top, question: str) -> bool:
    return question in above(top)


async def test_what_waits_is_shown_whole_and_decided(serve: Serve, own: Client) -> None:
    world = World()
    turns = [call("send_email", to="ada\u202e", text="x" * 300), call("send_email", to="bob"), call("lost")]

    @tool(effect="write", on_unknown="ask")
    def lost() -> str:
        """Write, and lose the answer."""
        raise TimeoutError("no answer")

    async with (
        serve(agent("top-asks", turns, [world.send(), lost]), client=own) as served,
        watched(own) as (top, pilot),
    ):
        run = await served.start("top-asks")
        for call_id, key, question in (
            ("s1c1", "a", f'Approve send_email({{"to": "ada\\u202e", "text": "{"x" * 300}"}})?'),
            ("s2c1", "r", 'Reject send_email({"to": "bob"})?'),
            ("s3c1-outcome", "r", "lost({}): it took no effect?"),
        ):
            [asked] = await waits(run, call_id)
            assert asked.summary.isprintable()
            await until(top, pilot, lambda: len(shown(top)) == 1)
            await pilot.press(key)
            await until(top, pilot, partial(asks, top, question))
            await pilot.press("y")
            await until(top, pilot, lambda: not isinstance(top.screen, Ask))
        await served.end(run)
        assert world.sent == ["ada\u202e"]
        messages = [message.content for message in await told(served, run)]
    assert messages[1].startswith("Not run: ada rejected send_email: from interlock top")
    assert messages[2].startswith("ToolFailed: lost did not report back; ada says that it took no effect")


async def test_a_server_that_is_gone_is_said_and_found_again(tmp_path: Path) -> None:
    port, database = free_port(), tmp_path / "temporal.db"
    server = await start_server(database=database, port=port, ui=False)
    try:
        client = await Client.connect(server.address, data_converter=data_converter())
        run = await Interlock(client, "nobody").start(AgentTask(agent="waiter", input="go"))
        async with watched(client) as (top, pilot):
            await until(top, pilot, lambda: len(shown(top)) == 1)
            await server.kill()
            await until(top, pilot, lambda: "the server does not answer" in text(top, "#problem"))
            assert "trying again" in text(top, "#problem")
            assert len(shown(top)) == 1  # what was last known is still there
            server = await start_server(database=database, port=port, ui=False)
            await until(top, pilot, lambda: text(top, "#problem") == "")
            await run.handle.terminate()
            await until(top, pilot, lambda: shown(top) == [])
    finally:
        await server.kill()


async def test_at_a_terminal_it_is_drawn_and_q_ends_it(own: Client, cli: CommandLine) -> None:
    run = await Interlock(own, "nobody").start(AgentTask(agent="waiter", input="at a terminal"))
    environment = {**cli.environment, "TEMPORAL_ADDRESS": own.service_client.config.target_host}
    async with terminal(environment, *COMMAND, "top") as screen:
        await screen.until("1 open")
        await screen.until("waiter-at-a-terminal")
        await screen.until("transcript")
        screen.press("q")
        assert await screen.code() == 0
        assert "Traceback" not in screen.shown
        assert "\x1b[?1049l" in screen.shown  # what was on the terminal before is back
    await run.handle.terminate()


async def test_it_ends_with_its_terminal(own: Client, cli: CommandLine) -> None:
    environment = {**cli.environment, "TEMPORAL_ADDRESS": own.service_client.config.target_host}
    async with terminal(environment, *COMMAND, "top") as screen:
        await screen.until(" open")
        screen.hang_up()
        assert await screen.code() == 129


async def test_where_it_cannot_run_one_line_says_why(cli: CommandLine) -> None:
    piped, as_json = await asyncio.gather(cli("top"), cli("top", "--json"))
    assert (piped.code, as_json.code) == (2, 2)
    assert "needs a terminal" in piped.complaint
    assert "interlock list --json" in as_json.complaint
    without = "import sys; sys.modules['textual'] = None; from interlock.cli import main; main(['top'])"
    async with terminal(cli.environment, sys.executable, "-c", without) as screen:
        assert await screen.code() == 1
        await screen.until("interlock: interlock top needs textual; install it: pip install 'interlock[top]'")
