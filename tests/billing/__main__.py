"""The server as its own process, for tests that kill other processes around it.

    python -m tests.billing --port 0 --log ledger.jsonl --plan '{"behaviour": "tool_loop", "tool": "look", "times": 3}'

The plan is JSON, or a file of it: see `behaviours.from_json`, plus "prices" as `{model: [input, output, cached]}` in
dollars per million, as strings. When the server listens it prints one line of JSON with its port and URLs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.billing import Prices
from tests.billing.behaviours import from_json
from tests.billing.server import BillingServer


def _plan(given: str) -> dict[str, Any]:
    text = given if given.lstrip().startswith("{") else Path(given).read_text(encoding="utf-8")
    plan: dict[str, Any] = json.loads(text)
    return plan


def _prices(plan: dict[str, Any]) -> Prices | None:
    if "prices" not in plan:
        return None
    table = plan["prices"].items()
    return {model: (Decimal(fresh), Decimal(out), Decimal(cached)) for model, (fresh, out, cached) in table}


async def _main() -> None:
    parser = argparse.ArgumentParser(prog="tests.billing", description="A model provider that keeps its own books.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, help="append each entry of the ledger to this file, as JSON lines")
    parser.add_argument("--plan", required=True, help="the behaviour, as JSON or the path of a file")
    options = parser.parse_args()
    plan = _plan(options.plan)

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with BillingServer(from_json(plan), prices=_prices(plan), port=options.port, log=options.log) as server:
        urls = {"port": server.port, "openai_url": server.openai_url, "anthropic_url": server.anthropic_url}
        print(json.dumps(urls), flush=True)
        await stop.wait()


asyncio.run(_main())
