"""The picture of an encrypted run that the Web UI decodes, for ``docs/security.md``; a part of ``make screenshots``.

``tests/ui/test_codec_in_web_ui.py`` looks at the same run.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.client import Client

from docs.browser import browsing
from interlock import Agent, AgentTask, Interlock
from interlock.converter import data_converter
from interlock.embedded import Server, free_port, start_server
from interlock.keys import Keys, new_key
from interlock.testing import ScriptedModel, say
from worker import serving

QUESTION = "Has the refund for order 4711 been paid?"
ANSWER = "It was paid on Monday, to the card that ends in 4242."
SIZE = (1500, 900)


@asynccontextmanager
async def codec_server(key: str, port: int, origin: str) -> AsyncIterator[None]:
    """The real one, for the pages of ``origin``."""
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
    """A Temporal server whose UI asks the codec server at ``port``."""
    server = await start_server(codec_endpoint=f"http://127.0.0.1:{port}")
    try:
        yield server
    finally:
        await server.stop()


async def finished_run(server: Server, key: str, store: Path) -> str:
    """An encrypted run that has answered: its id."""
    client = await Client.connect(server.address, data_converter=data_converter(store, Keys.parse(key)))
    agent = Agent(
        name="support", instructions="Help customers.", models=ScriptedModel("sealed-ui", [say(ANSWER)]).model
    )
    async with serving(client, [agent], queue="sealed-ui", fleet="sealed-fleet"):
        run = await Interlock(client, "sealed-ui", "sealed-fleet").start(
            AgentTask(agent="support", input=QUESTION, user_id="ada"), id="support-4d20b7"
        )
        await run.result()
    return run.id


def page_of(server: Server, run: str) -> str:
    return f"{server.ui}/namespaces/default/workflows/{run}"


async def photograph_codec(chromium: str, images: Path) -> list[Path]:
    """The run's page, decoded."""
    key, port = new_key(), free_port()
    with tempfile.TemporaryDirectory(prefix="interlock-codec-", ignore_cleanup_errors=True) as state:
        os.environ.setdefault("INTERLOCK_JOURNAL", str(Path(state) / "journal.db"))
        async with server_with_codec(port) as server, codec_server(key, port, server.ui):
            run = await finished_run(server, key, Path(state))
            async with browsing(chromium) as browser:
                page = await browser.page(*SIZE)
                await page.open(page_of(server, run), QUESTION, ANSWER)
                await page.settled()
                return [await page.picture(images / "ui-encrypted.png")]
