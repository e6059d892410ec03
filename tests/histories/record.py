"""Write down the histories of stories that are not written down yet: ``python -m tests.histories.record``.

A history is of the release that made it, in a directory of that release's name, one file an execution, and is never
changed: open runs cannot be, either. A release, and a new story, add files.
"""

from __future__ import annotations

import asyncio
import json
import os
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from temporalio.client import Client

from interlock import Interlock
from interlock.executions import oldest_execution
from interlock.testing import temporal_server
from tests.conftest import Served
from tests.histories.stories import AGENTS, SHORT_EXECUTIONS, STORIES
from worker import serving

RECORDED = Path(__file__).parent / "recorded"


def written() -> list[Path]:
    return sorted(RECORDED.glob("*/*.json"))


async def record(names: list[str], into: Path) -> None:
    for short in (False, True):
        config = {"limit.historyCount.suggestContinueAsNew": 20} if short else {}
        async with temporal_server(config=config) as environment:
            client = await Client.connect(
                environment.client.service_client.config.target_host,
                data_converter=environment.client.data_converter,
                identity="recorded",
            )
            async with serving(client, AGENTS, queue="recorded", fleet="recorded-fleet"):
                served = Served(Interlock(client, "recorded", "recorded-fleet"))
                for name in (name for name in names if (name in SHORT_EXECUTIONS) == short):
                    for number, workflow in enumerate(await STORIES[name](served), start=1):
                        await _write(client, workflow, into / f"{name}-{number}")
                        print(f"{name}: {workflow}")


async def _write(client: Client, id: str, stem: Path) -> None:
    """Each execution of a workflow, the oldest first."""
    run: str | None = await oldest_execution(client, id)
    number = 0
    while run:
        number += 1
        history = await client.get_workflow_handle(id, run_id=run).fetch_history()
        events = json.loads(history.to_json(), object_hook=_without_traces)["events"]
        lines = ",\n".join(json.dumps(event, separators=(",", ":")) for event in events)
        stem.with_name(f"{stem.name}.{number}.json").write_text(f'{{"events":[\n{lines}\n]}}\n')
        ended = history.events[-1]
        run = ended.workflow_execution_continued_as_new_event_attributes.new_execution_run_id


def _without_traces(value: dict[str, Any]) -> dict[str, Any]:
    """Stack traces say where the files of whoever recorded this lay, and no more."""
    return {name: each for name, each in value.items() if name != "stackTrace"}


async def main() -> None:
    into = RECORDED / version("interlock")
    into.mkdir(parents=True, exist_ok=True)
    missing = [name for name in STORIES if not any(RECORDED.glob(f"*/{name}-*"))]
    with TemporaryDirectory() as scratch:
        os.environ |= {"INTERLOCK_JOURNAL": f"{scratch}/journal.db", "INTERLOCK_STORE": f"{scratch}/store"}
        await record(missing, into)


if __name__ == "__main__":
    asyncio.run(main())
