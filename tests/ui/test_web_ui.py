"""The Web UI shows what ``docs/operating.md`` says, and the page's commands run as they stand.

What the UI shows is read from the HTTP interface that its pages are made from; where a browser is installed, from the
pages themselves as well.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shlex
import sys
import urllib.request
from collections.abc import AsyncIterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from docs.browser import browsing, installed
from docs.scene import ASKING, KILLED, PAUSED, RUNNING, WAITING, Scene, staged
from docs.screenshot_ui import VIEWS, WIDTH, address, with_columns
from interlock.search_attributes import SEARCH_ATTRIBUTES
from tests.cli.conftest import CommandLine
from tests.root import source_root
from tests.sizes import sized

PAGE = (source_root() / "docs/operating.md").read_text()
COMMANDS = "".join(re.findall(r"<!-- shell -->\n```bash\n(.*?)```", PAGE, re.DOTALL)).splitlines()
CALLS = ("EVENT_TYPE_ACTIVITY_TASK_SCHEDULED", "EVENT_TYPE_TIMER_STARTED")
SEEN = sized(("ui-open-runs", "ui-run-approval", "ui-run-killed"), ("ui-run-approval",))
"""Pages that the browser looks at here; ``make screenshots`` looks at all."""

CHANGING = ("steer", "extend", "kill", "resume", "approve", "set", "signal")
OPEN = {RUNNING, PAUSED, ASKING, WAITING}
LINKS = re.findall(r"http://localhost:8233(/[^)]*)\)", PAGE)


@pytest.fixture(scope="module")
async def scene() -> AsyncIterator[Scene]:
    async with staged() as there:
        yield there


async def asked(scene: Scene, path: str, body: object = None) -> Any:
    """An answer of the UI's own HTTP interface."""

    def ask() -> Any:
        jar = CookieJar()
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        with opener.open(f"{scene.ui}/api/v1/settings", timeout=30):
            pass  # for the token that what is not only read has to carry
        token = next((unquote(cookie.value or "") for cookie in jar if cookie.name == "_csrf"), "")
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{scene.ui}/api/v1/namespaces/default/{path}", data)
        request.add_header("X-CSRF-Token", token)
        with opener.open(request, timeout=30) as response:
            return json.load(response)

    return await asyncio.to_thread(ask)


async def listed(scene: Scene, query: str) -> dict[str, Any]:
    found = await asked(scene, f"workflows?query={quote(query)}")
    return {each["execution"]["workflowId"]: each for each in found.get("executions", [])}


def unpacked(payload: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(payload["data"]))


async def metadata(scene: Scene, id: str) -> str:
    """What the tab of that name shows: what was said when the workflow was started, and what it says of itself now."""
    described = await asked(scene, f"workflows/{quote(id, safe='')}")
    said = described.get("executionConfig", {}).get("userMetadata", {})
    static = [unpacked(each) for each in (said.get("summary"), said.get("details")) if each]
    name = "__temporal_workflow_metadata"
    answer = await asked(scene, f"workflows/{quote(id, safe='')}/query/{name}", {"query": {"queryType": name}})
    told: str = unpacked(answer["queryResult"]["payloads"][0])["currentDetails"]
    return "\n".join([*static, told])


async def known(scene: Scene, query: str, runs: set[str]) -> None:
    """Wait until these are listed, and no others: the index is a moment behind."""
    async with asyncio.timeout(60):
        while set(await listed(scene, query)) != runs:
            await asyncio.sleep(0.1)


async def test_lists_have_the_search_attributes_with_their_types(scene: Scene) -> None:
    await known(scene, f"WorkflowId='{RUNNING}' AND AgentSteps=4 AND AgentToolCalls=4", {RUNNING})
    runs = await listed(scene, "WorkflowType='AgentRun' AND ExecutionStatus='Running'")
    assert set(runs) == OPEN
    fields = runs[RUNNING]["searchAttributes"]["indexedFields"]
    names = ("AgentName", "AgentUser", "AgentState", "AgentSteps", "AgentToolCalls")
    assert [unpacked(fields[name]) for name in names] == ["analyst", "ada", "running", 4, 4]
    ours = [name for name in fields if name in SEARCH_ATTRIBUTES]
    kinds = {name: base64.b64decode(fields[name]["metadata"]["type"]).decode() for name in ours}
    assert kinds == {name: SEARCH_ATTRIBUTES[name] for name in ours}
    assert 0 < unpacked(fields["AgentCostUsd"]) < 0.5
    await known(scene, "AgentState='paused'", {PAUSED})
    await known(scene, "AgentState='waiting_breaker'", {WAITING})
    await known(scene, "AgentState='waiting_approval'", {ASKING})
    await known(scene, "AgentOutcome='killed'", {KILLED})


async def test_every_call_in_the_history_has_a_summary(scene: Scene) -> None:
    said = []
    for run in (*OPEN, KILLED):
        events = (await asked(scene, f"workflows/{run}/history"))["history"]["events"]
        calls = [each for each in events if each["eventType"] in CALLS]
        assert calls
        said += [unpacked(each["userMetadata"]["summary"]) for each in calls]
    assert "analyst-model · step 1 · $0.0000 of $0.50" in said
    assert 'search(pattern="ERROR")' in said
    assert f"waiting for approval of change_address · interlock approve {ASKING} s2c1" in said
    assert "waiting for the circuit breaker of scripted:researcher-model" in said


async def test_current_details_are_there(scene: Scene) -> None:
    for view in VIEWS:
        shown = await metadata(scene, view.workflow) if view.framed else ""
        rendered = re.sub(r"[`*]", "", shown)
        for words in view.framed:
            assert words in rendered, shown


async def test_the_pages_show_it(scene: Scene) -> None:
    """Where there is no browser, the tests above have read all that the pages are made from."""
    chromium = installed()
    if chromium is not None:
        async with browsing(chromium) as browser:
            page = await browser.page(WIDTH, 1000)
            await with_columns(page, scene)
            for view in (each for each in VIEWS if each.name in SEEN):
                await page.open(await address(scene, view), *view.words)
                await page.frames_show(*view.framed)


async def test_the_links_find_what_they_say(scene: Scene) -> None:
    queries = [parse_qs(urlsplit(link).query)["query"][0] for link in LINKS]
    assert len(queries) >= 8
    found = {query: set(await listed(scene, query)) for query in queries}
    assert found["WorkflowType='AgentRun' AND ExecutionStatus='Running'"] == OPEN
    assert "interlock-ledger-user:ada" in found["WorkflowType='BudgetLedger'"]
    assert found["WorkflowType='FleetControl'"] == {"interlock-fleet"}


async def test_the_commands_run(scene: Scene) -> None:
    """Last: some of them change what is there."""
    assert len(COMMANDS) >= 25
    changing = [line for line in COMMANDS if set(CHANGING) & set(shlex.split(line))]
    looking = [line for line in COMMANDS if line not in changing]
    at_a_time = asyncio.Semaphore(4)

    async def look(line: str) -> str:
        async with at_a_time:
            return await printed(scene, line)

    said = dict(zip(looking, await asyncio.gather(*map(look, looking)), strict=True))
    assert RUNNING in said["interlock list --state running"]
    assert f"interlock kill {RUNNING}" in said[f"temporal workflow metadata --workflow-id {RUNNING}"]
    assert "mallory" in said["temporal workflow metadata --workflow-id interlock-fleet"]
    assert "$5.00 a day" in said["interlock budget show user:ada"]
    for line in changing:
        await printed(scene, line)
    assert not await listed(scene, "AgentState='waiting_approval' AND ExecutionStatus='Running'")
    assert set(await listed(scene, "WorkflowType='AgentRun' AND ExecutionStatus='Running'")) == OPEN - {RUNNING}


async def printed(scene: Scene, line: str) -> str:
    """What a command of the page prints, which must end well."""
    first, *rest = shlex.split(line)
    environment = {**os.environ, "TEMPORAL_ADDRESS": scene.address, "TEMPORAL_CONFIG_FILE": os.devnull}
    if first == "interlock":
        ran = await CommandLine(environment)(*rest)
        code, said = ran.code, ran.out + ran.err
    else:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / first),
            *rest,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        code, said = process.returncode or 0, out.decode()
    assert code == 0, f"{line}:\n{said}"
    return said


def test_every_picture_is_taken_and_shown() -> None:
    shown = set(re.findall(r"\]\(images/([\w-]+)\.png\)", PAGE))
    assert shown == {view.name for view in VIEWS}
    assert all((source_root() / f"docs/images/{name}.png").stat().st_size < 300 * 1024 for name in shown)
