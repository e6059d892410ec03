"""A hundred writes (``make test``: an eighth of them) while workers are SIGKILLed at random: no line twice, and every
call accounted for."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
from collections import Counter
from pathlib import Path

from temporalio.client import Client

from interlock import AgentTask, Interlock
from interlock.client import Run
from interlock.contracts import ToolMessage
from interlock.testing import replay
from tests.chaos.writers import LONGEST, traces
from tests.runs import processes
from tests.sizes import sized
from tests.warm import Warm
from workflows.agent_run import AgentRun

RUNS, KILLS = sized(50, 6), sized(5, 2)


async def begun(log: Path, more_than: int) -> None:
    for _ in range(600):
        if len(traces(log, "began")) > more_than:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"no more than {more_than} writes began")


async def test_no_write_is_made_twice_and_no_call_is_lost_whoever_is_killed(temporal: Client, tmp_path: Path) -> None:
    address, queue = temporal.service_client.config.target_host, f"writes-{tmp_path.name}"
    log, rows, chance = tmp_path / "written", tmp_path / "booked.db", random.Random(50)
    with sqlite3.connect(rows) as database:
        database.execute("CREATE TABLE booked (key TEXT PRIMARY KEY, run TEXT)")
    environment = {
        "WRITERS_LOG": str(log),
        "WRITERS_DB": str(rows),
        "INTERLOCK_JOURNAL": str(tmp_path / "journal.db"),
    }
    interlock = Interlock(temporal, queue)

    async def begin() -> Warm:
        return await processes.start_worker(
            address, "tests.chaos.writers", queue, tmp_path / "worker.log", **environment
        )

    workers, runs = list(await asyncio.gather(begin(), begin())), list[Run]()
    try:
        for _ in range(KILLS):
            before = len(traces(log, "began"))
            runs += [await interlock.start(AgentTask(agent="writer", input="write")) for _ in range(RUNS // KILLS)]
            await begun(log, before)
            await asyncio.sleep(chance.uniform(0, LONGEST))
            victim = chance.randrange(2)
            await processes.end(workers[victim], signal.SIGKILL)
            workers[victim] = await begin()
        results = await asyncio.wait_for(asyncio.gather(*(run.result() for run in runs)), 150)
        transcripts = [await interlock.transcript(run.id) for run in runs]
        for run in runs:
            await replay(temporal, run.handle, AgentRun)
    finally:
        for worker in workers:
            await processes.end(worker, signal.SIGKILL)

    assert {(result.outcome, result.output) for result in results} == {("completed", "all done")}
    # The tool itself was never begun twice for one call, so what it does was never done twice.
    for kind in ("began", "line"):
        assert max(Counter(key for *_, key in traces(log, kind)).values()) == 1
    written = {(run, call) for run, call, _ in traces(log, "line")}
    told = {
        (run.id, message.call_id): message
        for run, transcript in zip(runs, transcripts, strict=True)
        for message in transcript.messages
        if isinstance(message, ToolMessage)
    }
    fates = Counter(fate(message, done=place in written) for place, message in told.items())
    assert fates.total() == 3 * RUNS
    assert sum(count for (tool, _), count in fates.items() if tool != "book") == 2 * RUNS
    assert fates["append", "unknown"] > 0, "no kill hit a write: this proves nothing"
    with sqlite3.connect(rows) as database:
        booked = Counter(run for (run,) in database.execute("SELECT run FROM booked"))
    assert booked == {run.id: 1 for run in runs}
    print(dict(fates))


def fate(message: ToolMessage, *, done: bool) -> tuple[str, str]:
    """What the model was told of a call, which must be what happened. ``done``: its line is in the file."""
    match message.tool, message.content:
        case (("append" | "append_verified"), "written"):
            assert done
            return message.tool, "written"
        case "append", content:
            assert content.startswith("ToolOutcomeUnknown")
            assert "may or may not have taken effect" in content
            return "append", "unknown"
        case "append_verified", content:
            assert content == (
                "append_verified did not report back, and was found to have taken effect."
                if done
                else "ToolFailed: append_verified did not report back, and was found not to have taken effect."
            )
            return "append_verified", "found out"
        case tool, content:
            assert (tool, content) == ("book", "booked")
            return "book", "booked"
