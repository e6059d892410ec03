"""Takes the pictures of the Web UI in ``docs/operating.md``: a part of ``make screenshots``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from docs.browser import Page, browsing
from docs.scene import ASKING, KILLED, PAUSED, RUNNING, WAITING, Scene, staged

OPEN = "WorkflowType='AgentRun' AND ExecutionStatus='Running'"
WIDTH = 1500
COLUMNS = ("Status", "Workflow ID", "AgentUser", "AgentState", "AgentSteps", "AgentCostUsd")
"""Those of the list, as a person sets them with the button below it: the UI keeps that in the browser."""


@dataclass(frozen=True)
class View:
    """A picture: which tab of which workflow, how high, and words that must be on it. Without a workflow: a list."""

    name: str
    words: tuple[str, ...]
    height: int
    workflow: str = ""
    tab: str = ""
    framed: tuple[str, ...] = ()


VIEWS = (
    View("ui-open-runs", (RUNNING, PAUSED, ASKING, WAITING, "waiting_approval", "AgentCostUsd"), 660),
    View(
        "ui-run-details",
        (RUNNING, "User Metadata", "Current Details"),
        900,
        RUNNING,
        "user-metadata",
        framed=("Running · step 4 of 50", f"interlock kill {RUNNING}", "Why did checkout fail?"),
    ),
    View(
        "ui-run-timeline",
        ("resolve the agent", "analyst-model · step 1 · $0.0000 of $0.50", 'search(pattern="ERROR")'),
        1150,
        RUNNING,
        "timeline",
    ),
    View(
        "ui-run-paused",
        (PAUSED,),
        760,
        PAUSED,
        "user-metadata",
        framed=("Paused · step", "the customer called again", f"interlock resume {PAUSED}"),
    ),
    View(
        "ui-run-approval",
        (ASKING,),
        980,
        ASKING,
        "user-metadata",
        framed=(
            "Waiting for approval",
            '"street": "12 Elm Street"',
            f"interlock approve {ASKING} s2c1",
        ),
    ),
    View(
        "ui-run-waiting",
        (WAITING,),
        900,
        WAITING,
        "user-metadata",
        framed=("Waiting for a circuit breaker", "Breakers met", "scripted:researcher-model: open until"),
    ),
    View(
        "ui-run-killed",
        (KILLED, "FAILED"),
        860,
        KILLED,
        "user-metadata",
        framed=("Killed · step 2 of 20", "wrong list of customers (by grace)", "may have taken effect: send_email x 1"),
    ),
    View(
        "ui-fleet",
        ("interlock-fleet", "Current Details"),
        900,
        "interlock-fleet",
        "user-metadata",
        framed=("1 kill in force", "user mallory by grace", "scripted:researcher-model open"),
    ),
    View(
        "ui-ledger",
        ("interlock-ledger-user:ada", "Current Details"),
        720,
        "interlock-ledger-user:ada",
        "user-metadata",
        framed=("user:ada ·", "of $5.00 a day", "interlock budget set user:ada"),
    ),
)


async def photograph_ui(chromium: str, images: Path, names: tuple[str, ...] = ()) -> list[Path]:
    """The pictures, or those of ``names``. Each is taken when its words are on the page."""
    taken: list[Path] = []
    async with staged() as scene, browsing(chromium) as browser:
        page = await browser.page(WIDTH, 1000)
        await with_columns(page, scene)
        for view in VIEWS:
            if not names or view.name in names:
                await page.resize(WIDTH, view.height)
                await page.open(await address(scene, view), *view.words)
                await page.frames_show(*view.framed)
                await page.settled()
                taken.append(await page.picture(images / f"{view.name}.png"))
    return taken


async def with_columns(page: Page, scene: Scene) -> None:
    """Let the list of workflows show search attributes."""
    kept = json.dumps({"default": [{"label": label} for label in COLUMNS]})
    await page.open(f"{scene.ui}/namespaces/default/workflows", RUNNING)
    await page.evaluate(f"localStorage.setItem('namespace-workflow-table-columns', {json.dumps(kept)})")


async def address(scene: Scene, view: View) -> str:
    if view.workflow:
        return await scene.page(view.workflow, view.tab)
    return f"{scene.ui}/namespaces/default/workflows?query={quote(OPEN)}"
