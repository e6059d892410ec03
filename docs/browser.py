"""Chromium without a screen, spoken to over a pair of pipes: opens pages, waits for words on them, takes pictures.

``--screenshot`` alone is no use for a run under way: it waits for the page to fall silent, and the page of an open
workflow never does, since it always waits for the next event.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.stack import Broken

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
PATIENCE = 40.0
FRAMED = "[...document.querySelectorAll('iframe')].map(f => f.contentDocument?.body?.innerText ?? '').join(' ')"
MOST = 64 * 1024 * 1024
"""A message from the browser: a picture is one."""


def installed() -> str | None:
    """The browser of this machine, if there is one."""
    return next((found for name in BROWSERS if (found := shutil.which(name)) is not None), None)


def required() -> str:
    if (found := installed()) is None:
        raise Broken(f"none of {', '.join(BROWSERS)} is installed; on Debian: apt-get install chromium")
    return found


@dataclass
class Browser:
    """The connection to one process. Answers come in any order; each names its question."""

    reader: asyncio.StreamReader
    writer: int
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _asked: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)

    async def listen(self) -> None:
        while True:
            try:
                said = json.loads((await self.reader.readuntil(b"\0"))[:-1])
            except asyncio.IncompleteReadError:
                for waiting in self._asked.values():
                    if not waiting.done():
                        waiting.set_exception(Broken("the browser has ended"))
                return
            number = said.get("id")  # an event has none
            if number in self._asked and not self._asked[number].done():
                self._asked.pop(number).set_result(said)

    async def ask(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._asked[number] = asyncio.get_running_loop().create_future()
        said = {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
        os.write(self.writer, json.dumps(said).encode() + b"\0")
        try:
            answer = await asyncio.wait_for(self._asked[number], PATIENCE)
        except TimeoutError:
            raise Broken(f"the browser did not answer {method} within {PATIENCE:g} s") from None
        if "error" in answer:
            raise Broken(f"the browser refused {method}: {answer['error'].get('message')}")
        result: dict[str, Any] = answer["result"]
        return result

    async def page(self, width: int, height: int) -> Page:
        """A new page, so wide and high."""
        target = (await self.ask("Target.createTarget", url="about:blank"))["targetId"]
        session = (await self.ask("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        page = Page(self, session)
        await page.resize(width, height)
        return page


@dataclass(frozen=True)
class Page:
    browser: Browser
    session: str

    async def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        return await self.browser.ask(method, self.session, **params)

    async def resize(self, width: int, height: int) -> None:
        await self._ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def open(self, url: str, *words: str) -> None:
        """Open an address, and wait for ``words`` on the page. Raises ``Broken``, with what is there instead."""
        await self._ask("Page.navigate", url=url)
        await self.shows(*words)

    async def shows(self, *words: str) -> None:
        """Wait until all of ``words`` are on the page."""
        await self._until(words, self.text)

    async def frames_show(self, *words: str) -> None:
        """Wait until all of ``words`` are in what the page shows inside frames: the UI shows markdown there."""
        await self._until(words, self._framed)

    async def settled(self) -> None:
        """Wait until the page has drawn what it shows."""
        await self.evaluate("new Promise(done => setTimeout(done, 1000))")

    async def _until(self, words: tuple[str, ...], read: Callable[[], Awaitable[str]]) -> None:
        text = ""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    text = await read()
                    if all(word in text for word in words):
                        return
                    await asyncio.sleep(0.1)
        except TimeoutError:
            missing = [word for word in words if word not in text]
            raise Broken(f"the page does not show {missing} within {PATIENCE:g} s, but: {text}") from None

    async def text(self) -> str:
        """The words on the page as a person sees them, with single spaces and no line breaks."""
        return " ".join(str(await self.evaluate("document.body ? document.body.innerText : ''")).split())

    async def _framed(self) -> str:
        return " ".join(str(await self.evaluate(FRAMED)).split())

    async def evaluate(self, script: str) -> Any:
        answer = await self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise Broken(f"a script failed in the page: {answer['exceptionDetails'].get('text')}")
        return answer["result"].get("value")

    async def picture(self, image: Path, bottom: int | None = None) -> Path:
        """What is on the page, down to ``bottom``."""
        size = await self.evaluate("[innerWidth, innerHeight]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": min(bottom or size[1], size[1]), "scale": 1}
        taken = await self._ask("Page.captureScreenshot", format="png", clip=clip, optimizeForSpeed=False)
        await asyncio.to_thread(image.write_bytes, base64.b64decode(taken["data"]))
        return image


@asynccontextmanager
async def browsing(chromium: str) -> AsyncIterator[Browser]:
    """A browser with a profile of its own, which ends with the block."""
    to_browser, questions = os.pipe()
    answers, from_browser = os.pipe()

    def connect() -> None:  # in the child: where the browser looks for its pipes
        incoming, outgoing = os.dup(to_browser), os.dup(from_browser)
        os.dup2(incoming, 3)
        os.dup2(outgoing, 4)

    with tempfile.TemporaryDirectory(prefix="interlock-browser-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            *(chromium, *QUIET, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            preexec_fn=connect,
            pass_fds=(3, 4),
            env={**os.environ, "TZ": "UTC", "LANG": "en_US.UTF-8"},
        )
        os.close(to_browser)
        os.close(from_browser)
        reader = asyncio.StreamReader(limit=MOST)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(answers, "rb", 0)
        )
        browser = Browser(reader, questions)
        listening = asyncio.create_task(browser.listen())
        try:
            yield browser
        finally:
            listening.cancel()
            transport.close()
            os.close(questions)  # it ends when nobody can ask any more
            try:
                await asyncio.wait_for(process.wait(), 5)
            except TimeoutError:
                process.kill()
                await process.wait()
