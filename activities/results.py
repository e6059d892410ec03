"""What of a long result the model is shown, and where the whole of it is."""

from __future__ import annotations

import asyncio

import structlog
from temporalio import activity

from interlock import results

log = structlog.get_logger("interlock.results")

MOST_KEPT = 64 * 1024 * 1024
"""Bytes of one result that are kept in the store."""


async def fitting(content: str, most: int) -> str:
    """``content``, or its first ``most`` bytes with a note of how much there is and where the whole is."""
    data = content.encode(errors="replace")
    if len(data) <= most:
        return data.decode()
    shown = data[:most].decode(errors="ignore")
    where = await _kept(data)
    return f"{shown}\n[cut: {len(data)} bytes in all, the first {most} are above{where}; ask for less at a time]"


async def _kept(data: bytes) -> str:
    """Where people find the whole. The tool has run: whatever is wrong with the store never fails the call."""
    try:
        place = await results.keep(
            activity.client().data_converter,
            activity.info().namespace,
            activity.info().workflow_id or "",
            data[:MOST_KEPT],
        )
    except asyncio.CancelledError:  # a kill: that it has run is told at once
        log.warning("result.not_kept", bytes=len(data), error="stopped")
        return ""
    except Exception as error:  # noqa: BLE001  # a full disk, a codec without its key
        log.warning("result.not_kept", bytes=len(data), error=f"{type(error).__name__}: {error}")
        return ""
    what = "the whole is" if len(data) <= MOST_KEPT else f"the first {MOST_KEPT} are"
    return f"; {what} in the store: {place}"
