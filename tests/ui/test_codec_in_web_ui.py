"""The Web UI shows what an encrypted run says, once it is told of a codec server, and nothing without one."""

from __future__ import annotations

from pathlib import Path

from docs.browser import browsing, installed
from docs.screenshot_codec import ANSWER, QUESTION, codec_server, finished_run, page_of, server_with_codec
from interlock.embedded import free_port
from interlock.keys import new_key
from tests.root import source_root


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
            address = page_of(server, run)
            await page.open(address, run, "Result")
            await page.settled()
            unread = await page.text()
            assert QUESTION not in unread
            assert ANSWER not in unread
            async with codec_server(key, port, server.ui):
                await page.open(f"{address}?again", QUESTION, ANSWER)


def test_the_picture_is_shown_and_small() -> None:
    assert "](images/ui-encrypted.png)" in (source_root() / "docs/security.md").read_text()
    assert (source_root() / "docs/images/ui-encrypted.png").stat().st_size < 300 * 1024
