"""The standard tools against calls that try to get out: by themselves, and in a run whose model makes them all."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from examples.tools.files import files
from examples.tools.http import Resolve, http_get
from examples.tools.sqlite import sqlite
from interlock import Tool, ToolError
from tests.hostile.corpus import REACH, Call
from tests.hostile.play import Played, of, play
from tests.toolset.web import Names, Site, page, redirect, site

PAGES = {
    "/": page(b"public"),
    "/to-other": redirect("http://other.test/"),
    "/to-metadata": redirect("http://169.254.169.254/latest/meta-data/"),
    "/to-file": redirect("file:///etc/passwd"),
    "/circle": redirect("/circle"),
    "/again": redirect("/"),
    "/image": page(b"\x89PNG", "image/png"),
    "/packed": page(b"\x1f\x8b", "text/plain", "Content-Encoding: gzip"),
    "/ssh": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "/head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "/slow": b"HTTP/1.1 200 OK\r\n",
}
NAMES = {
    "site.test": [["127.0.0.1"]],
    "rebound.test": [["127.0.0.1"], ["169.254.169.254"]],
    "inside.test": [["192.168.0.1"]],
    "mixed.test": [["8.8.8.8", "10.0.0.1"]],
}


@dataclass(frozen=True)
class World:
    folder: Path
    site: Site

    def tools(self) -> list[Tool]:
        """Made anew for each use: a name that means something else later does so each time."""
        names, port = Names(NAMES), self.site.port
        hosts = [f"site.test:{port}", f"rebound.test:{port}"]
        return [
            *files(self.folder / "root", writable=True),
            *sqlite(self.folder / "shop.db", seconds=1.0),
            http_get(hosts, networks=["127.0.0.0/8"], resolve=names, seconds=6.0),
            http_get(["*"], name="browse", resolve=_system_or(names)),
        ]

    def filled(self, case: Call) -> Call:
        return replace(case, arguments=case.arguments.replace("PORT", str(self.site.port)))

    def outside(self) -> dict[str, bytes]:
        """Everything beside the root; a tool that reaches it may change it."""
        beside = [path for path in self.folder.iterdir() if path.is_file()]
        return {path.name: path.read_bytes() for path in beside}


def _system_or(names: Names) -> Resolve:
    """Hosts of the corpus by its names, numbers in all their notations as this machine reads them."""

    async def resolve(host: str, port: int) -> list[str]:
        if host.endswith(".test"):
            return list(await names(host, port))
        found = await asyncio.get_running_loop().getaddrinfo(host, port)
        return [str(where[4][0]) for where in found]

    return resolve


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("world")
    root = folder / "root"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("own\n")
    (folder / "secret.txt").write_text("secret\n")
    (root / "link.txt").symlink_to(folder / "secret.txt")
    (root / "linked").symlink_to(folder)
    (root / "loop").symlink_to(root / "loop")
    os.link(folder / "secret.txt", root / "hard.txt")
    os.mkfifo(root / "pipe")
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.executescript(
            "CREATE TABLE goods (name TEXT, cents INTEGER); INSERT INTO goods VALUES ('tea', 450);"
            "CREATE VIEW harm AS SELECT load_extension('/tmp/hostile.so')"
        )
    async with site(PAGES, slow=["/slow"]) as here:
        yield World(folder, here)


async def called(tool: Tool, arguments: dict[str, Any]) -> Any:
    return await tool(**arguments) if tool.is_async else tool(**arguments)


@pytest.mark.parametrize("case", REACH, ids=lambda case: case.id)
async def test_the_tool_itself_refuses(case: Call, world: World) -> None:
    case, before = world.filled(case), world.outside()
    tool = {tool.name: tool for tool in world.tools()}[case.tool]
    arguments = tool.bind(case.arguments)
    with pytest.raises(ToolError) as refused:
        await called(tool, arguments)
    assert case.said in str(refused.value)
    assert "secret\n" not in str(refused.value)
    assert world.outside() == before


@pytest.fixture(scope="module")
async def played(temporal: Client, world: World) -> Played:
    before = world.outside()
    made = await play(temporal, world.tools(), [of([(case.tool, world.filled(case).arguments) for case in REACH])])
    assert world.outside() == before
    return made


@pytest.mark.parametrize("case", REACH, ids=lambda case: case.id)
async def test_in_a_run_the_model_is_told_why(case: Call, played: Played) -> None:
    message = played.told[REACH.index(case)]
    assert (case.said in message.content, message.is_error) == (True, True), message.content
    assert not message.content.startswith(("ToolFailed", "ToolOutcomeUnknown", "ToolArgumentsInvalid"))


async def test_the_run_goes_on_and_each_was_tried_once(played: Played) -> None:
    assert (played.result.outcome, played.result.output) == ("completed", "done")
    assert len(played.told) == len(REACH) == played.result.tool_calls
    assert not list(Path("/tmp").glob("hostile.*"))


async def test_what_is_allowed_works(world: World) -> None:
    """The refusals above are worth something only where the same tools do their work."""
    tools = {tool.name: tool for tool in world.tools()}
    assert tools["read_file"]("a.txt") == "own"
    assert tools["query"]("SELECT name FROM goods").rows == [["tea"]]
    assert (await tools["http_get"](f"http://site.test:{world.site.port}/")).endswith("public")
