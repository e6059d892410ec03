"""Takes the pictures of ``interlock top``: a part of ``make screenshots``. Needs no browser.

The runs in it are real, on a server of their own; only their models follow scripts, so that the pictures show what a
fleet at work looks like, and cost nothing.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from examples.stack import Broken
from interlock import Account, Agent, AgentTask, Interlock, Limits, Price, tool
from interlock.client import Run
from interlock.contracts import Message
from interlock.testing import Say, ScriptedModel, call, temporal_server
from interlock.top.app import Top
from worker import serving

if TYPE_CHECKING:
    from textual.pilot import Pilot

SIZE = (150, 34)
PRICE = Price(input="3.00", output="15.00")
ASKED = {
    "analyst": ("why did checkout fail", "what changed before the outage", "which requests time out", "who is paged"),
    "researcher": ("compare three vector stores", "summarise the incident reviews", "find the licence of each package"),
    "support": ("refund for order 4711", "where is my parcel", "reset two-factor login", "invoice in euros"),
}
USERS = ("ada", "grace", "linus", "barbara")


@tool(effect="read")
async def search(pattern: str) -> str:
    """Search the logs."""
    await asyncio.sleep(0.9)
    return f"{pattern}: 3 lines of 1,204 match"


def _agent(name: str, depth: int) -> Agent:
    """Searches so often, then thinks for as long as the pictures take."""

    def turn(messages: Sequence[Message], tools: Sequence[str]) -> Say:
        seen = sum(message.role == "tool" for message in messages)
        asked = len(messages[0].text) % depth + 4 if messages[0].role == "user" else depth
        if seen < asked:
            return call("search", pattern=("ERROR", "timeout", "deploy", "retry")[seen % 4])
        return Say(text="late", delay=600)

    model = ScriptedModel(f"{name}-model", turn, PRICE)
    return Agent(
        name=name,
        instructions="Answer from the logs, and say where you found it.",
        models=model.model,
        tools=[search],
        limits=Limits(usd=Decimal("0.50"), steps=20),
        accounts=[Account("user:{user_id}", usd="0.75"), Account("fleet", usd="25.00", window="month")],
        max_output_tokens=500,
    )


async def photograph_top(images: Path) -> list[Path]:
    """The table and a trace, as SVG."""
    async with _fleet() as (interlock, runs):
        top = Top(interlock, "ada")
        async with top.run_test(size=SIZE) as pilot:
            await _until(pilot, lambda: sum(line[2].plain > "2" for line in top.lines) >= len(runs) // 2)
            await pilot.press("s", "ctrl+home", "down", "down")
            await _until(pilot, lambda: any(" of " in line[3].plain for line in top.lines))
            await pilot.pause(5)  # the panels beside the table are looked at less often
            taken = [_write(top, images / "top.svg")]
            await pilot.press("t")
            await pilot.pause(2)
            return [*taken, _write(top, images / "top-trace.svg")]


@asynccontextmanager
async def _fleet() -> AsyncIterator[tuple[Interlock, list[Run]]]:
    """A server with runs at work, two of them paused."""
    agents = [_agent("analyst", 5), _agent("researcher", 9), _agent("support", 3)]
    with tempfile.TemporaryDirectory(prefix="interlock-top-") as state:
        os.environ["INTERLOCK_JOURNAL"] = str(Path(state) / "journal.db")
        async with temporal_server() as environment, serving(environment.client, agents, queue="interlock"):
            interlock = Interlock(environment.client, "interlock")
            runs: list[Run] = []
            for agent, questions in ASKED.items():
                for number, question in enumerate(questions):
                    task = AgentTask(agent=agent, input=question, user_id=USERS[number])
                    runs.append(await interlock.start(task))
            for run in (runs[2], runs[6]):
                await run.pause("a person looks at it", "grace")
            yield interlock, runs
            for run in runs:
                await run.kill("the pictures are taken")
            await asyncio.gather(*(run.result() for run in runs))


async def _until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    try:
        async with asyncio.timeout(30):
            while not condition():
                await pilot.pause(0.1)
    except TimeoutError:
        raise Broken("interlock top did not show the runs within 30 s") from None


def _write(top: Top, image: Path) -> Path:
    """The screen as it is. Fonts are the reader's own: a picture in the documentation fetches nothing."""
    drawn = re.sub(r"@font-face\s*\{.*?\}", "", top.export_screenshot(title="interlock top"), flags=re.DOTALL)
    image.write_text(drawn)
    return image
