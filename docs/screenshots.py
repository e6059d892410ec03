"""Takes the pictures in ``docs/images``: ``make screenshots``. Needs Chromium; starts everything else itself.

``docs/screenshot_top.py`` takes those of ``interlock top``."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from docs.screenshot_top import photograph_top
from examples.demo import QUESTION
from examples.stack import ROOT, Broken, started
from interlock import AgentTask
from interlock.errors import InterlockError

IMAGES = ROOT / "docs" / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
LOADED = 15_000
"""Milliseconds of the page's own, virtual time until its picture is taken: it draws what it has fetched by then."""


def browser() -> str:
    for name in BROWSERS:
        if (found := shutil.which(name)) is not None:
            return found
    raise Broken(f"none of {', '.join(BROWSERS)} is installed; on Debian: apt-get install chromium")


async def photograph(chromium: str, url: str, image: Path, size: tuple[int, int]) -> None:
    with tempfile.TemporaryDirectory(prefix="interlock-screenshot-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            *(chromium, *QUIET, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"),
            *(f"--virtual-time-budget={LOADED}", f"--screenshot={image}", url),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(90):
                code = await process.wait()
        except TimeoutError:
            raise Broken(f"{chromium} took no picture of {url} within 90 s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if code != 0:
        raise Broken(f"{chromium} took no picture of {url}: it ended with code {code}")


async def main() -> None:
    chromium = browser()
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="interlock-screenshots-", ignore_cleanup_errors=True) as state:
        async with started(Path(state), "examples.analyst", ROOT / "examples" / "data") as stack:
            run = await stack.interlock.start(AgentTask(agent="analyst", input=QUESTION, user_id="demo"))
            result = await run.result()
            if result.outcome != "completed":
                raise Broken(f"the run ended {result.outcome}: {result.reason}")
            described = await run.handle.describe()
            url = f"{stack.link(run.id)}/{described.run_id}/timeline"
            image = IMAGES / "run-in-the-web-ui.png"
            await photograph(chromium, url, image, (1500, 1150))
    for taken in (image, *await photograph_top(IMAGES)):
        print(f"{taken.relative_to(ROOT)}: {taken.stat().st_size // 1024} KB")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (Broken, InterlockError) as error:
        print(f"screenshots: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
