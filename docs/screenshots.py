"""Takes the pictures in ``docs/images``: ``make screenshots``. Needs Chromium; starts everything else itself.

``docs/screenshot_top.py`` takes those of ``interlock top``,
``docs/screenshot_ui.py`` those of a fleet in the Web UI,
``docs/screenshot_codec.py`` that of an encrypted run there."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from itertools import chain
from pathlib import Path

from docs.browser import browsing, required
from docs.screenshot_codec import photograph_codec
from docs.screenshot_top import photograph_top
from docs.screenshot_ui import photograph_ui
from examples.demo import QUESTION
from examples.stack import ROOT, Broken, started
from interlock import AgentTask
from interlock.errors import InterlockError

IMAGES = ROOT / "docs" / "images"
SIZE = (1500, 1150)


async def main() -> None:
    chromium = required()
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="interlock-screenshots-", ignore_cleanup_errors=True) as state:
        async with started(Path(state), "examples.analyst", ROOT / "examples" / "data") as stack:
            run = await stack.interlock.start(AgentTask(agent="analyst", input=QUESTION, user_id="demo"))
            result = await run.result()
            if result.outcome != "completed":
                raise Broken(f"the run ended {result.outcome}: {result.reason}")
            described = await run.handle.describe()
            async with browsing(chromium) as browser:
                page = await browser.page(*SIZE)
                await page.open(f"{stack.link(run.id)}/{described.run_id}/timeline", "COMPLETED", "resolve the agent")
                await page.settled()
                image = await page.picture(IMAGES / "run-in-the-web-ui.png")
    more = [
        await photograph_ui(chromium, IMAGES),
        await photograph_codec(chromium, IMAGES),
        await photograph_top(IMAGES),
    ]
    for taken in (image, *chain.from_iterable(more)):
        print(f"{taken.relative_to(ROOT)}: {taken.stat().st_size // 1024} KB")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (Broken, InterlockError) as error:
        print(f"screenshots: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
