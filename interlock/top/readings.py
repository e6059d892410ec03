"""What of a run is opened above the table, to read."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.text import Text

from interlock.cli import conversation, waterfall
from interlock.client import Interlock
from interlock.top import panels
from interlock.top.screens import Reading


def transcript(interlock: Interlock, run: str) -> Reading:
    async def read(width: int) -> Text:
        told = await interlock.transcript(run)
        return panels.drawn(lambda to: conversation.show(to, told), width)

    return Reading(f"{run} · transcript", read)


def trace(interlock: Interlock, run: str) -> Reading:
    async def read(width: int) -> Text:
        root = await interlock.trace(run)
        return Text("\n").join(waterfall.lines(root, datetime.now(UTC), width))

    return Reading(f"{run} · trace", read)
