"""The Web UI shows what an encrypted run says, once it is told of a codec server, and nothing without one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.client import Client

from docs.browser import browsing, installed
from interlock import Agent, AgentTask, Interlock
from interlock.converter import data_converter
from interlock.embedded import Server, free_port, start_server
from interlock.keys import Keys, new_key
from interlock.testing import ScriptedModel, say
from worker import serving

QUESTION, ANSWER = "questionword", "answerword"


@asynccontextmanager
async def codec_server(key: str, port: int, origin: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "interlock.cli", "codec-server", "--port", str(port), "--origin", origin),
        env={**os.environ, "INTERLOCK_ENCRYPTION_KEY": key},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert str(port).encode() in await process.stdout.readline()
        yield
    finally:
        process.send_signal(signal.SIGINT)
        await process.wait()


@asynccontextmanager
async def server_with_codec(port: int) -> AsyncIterator[Server]:
    server = await start_server(codec_endpoint=f"http://127.0.0.1:{port}")
    try:
        yield server
    finally:
        await server.stop()


async def finished_run(server: Server, key: str, store: Path) -> str:
    client = await Client.connect(server.address, data_converter=data_converter(store, Keys.parse(key)))
    agent = Agent(name="sealed", instructions="", models=ScriptedModel("sealed-ui", [say(ANSWER)]).model)
    async with serving(client, [agent], queue="sealed-ui", fleet="sealed-fleet"):
        run = await Interlock(client, "sealed-ui", "sealed-fleet").start(
            AgentTask(agent="sealed", input=QUESTION), id="sealed-1"
        )
        await run.result()
    return run.id


async def test_the_web_ui_decodes_what_a_run_says(tmp_path: Path) -> None:
    """``tests/test_codec_server.py`` asks as the UI does; this one lets the UI itself ask, where there is a browser."""
    key, port = new_key(), free_port()
    async with server_with_codec(port) as server:
        run = await finished_run(server, key, tmp_path)
        chromium = installed()
        if chromium is None:
            return
        async with browsing(chromium) as browser:
            page = await browser.page(1500, 1000)
            address = f"{server.ui}/namespaces/default/workflows/{run}"
            await page.open(address, run, "Result")
            await page.settled()
            unread = await page.text()
            assert QUESTION not in unread
            assert ANSWER not in unread
            async with codec_server(key, port, server.ui):
                await page.open(f"{address}?again", QUESTION, ANSWER)
