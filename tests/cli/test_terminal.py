"""What a person at a terminal sees: the live view, and Ctrl-C."""

from __future__ import annotations

import io
import signal
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from rich.console import Console

from interlock import Agent, Retry
from interlock.cli.live import NARROW, Lines
from interlock.cli.story import Call
from interlock.contracts import Usage
from interlock.errors import Failure
from interlock.testing import Say, ScriptedModel
from tests.cli.conftest import COMMAND, CommandLine
from tests.cli.terminal import terminal
from tests.conftest import Serve


async def test_a_call_under_way_is_shown_with_its_attempt_and_a_finished_one_stays(
    serve: Serve, cli: CommandLine
) -> None:
    failing = Failure("ModelOverloaded", "529: overloaded", retry_after=1.5)
    model = ScriptedModel("cli-flaky", [Say(failure=failing)])
    agent = Agent(name="flaky", instructions="-", models=model.model, retry=Retry(attempts=2))
    async with serve(agent) as served, terminal(cli.on(served).environment, *COMMAND, "run", "flaky", "go") as screen:
        await screen.until("· attempt 2")
        await screen.until("529: overloaded")
        await screen.until("so far · Ctrl-C stops watching, not the run")
        assert await screen.code() == 1
        await screen.until("\x1b[31m✗")
        await screen.until("unavailable")
        assert "\x1b[?25h" in screen.shown  # the cursor is back


async def test_ctrl_c_stops_watching_and_not_the_run(serve: Serve, cli: CommandLine) -> None:
    model = ScriptedModel("cli-watched", [Say(text="late", delay=30)])
    async with serve(Agent(name="slow", instructions="-", models=model.model)) as served:
        async with terminal(cli.on(served).environment, *COMMAND, "run", "slow", "go", "--id", "watched") as screen:
            await screen.until("cli-watched · step 1")
            screen.process.send_signal(signal.SIGINT)
            assert await screen.code() == 130
            await screen.until("the run goes on. Watch it: interlock follow watched. End it: interlock kill watched")
            assert "Traceback" not in screen.shown
        run = served.interlock.get("watched")
        assert (await run.status()).state == "running"
        await run.kill()
        await run.result()


@pytest.mark.parametrize("columns", [30, 40, NARROW - 1, NARROW, 80, 200])
def test_a_finished_call_says_what_it_cost_however_narrow_the_terminal(columns: int) -> None:
    shown = io.StringIO()
    to = Console(file=shown, width=columns, force_terminal=True, color_system=None, highlight=False)
    usage = Usage(input_tokens=1204, output_tokens=310, usd=Decimal("0.0144"))
    began = datetime(2026, 3, 14, tzinfo=UTC)
    Lines(to).add(Call("model-1", "claude-sonnet-4-5 · step 12", began, state="done", seconds=1.2, usage=usage))
    [line] = shown.getvalue().splitlines()
    assert line.startswith("✓ claude")
    assert line.endswith("$0.0144")
    assert len(line) <= columns
    assert ("1,204 in" in line) == (columns >= NARROW)
