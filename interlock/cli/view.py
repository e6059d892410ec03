"""One run on the screen, from its heading to its answer."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from interlock import present
from interlock.cli import BROKEN, INTERRUPTED, OK, screen
from interlock.cli.options import Common
from interlock.cli.session import complain

if TYPE_CHECKING:
    from interlock.cli.story import Story
    from interlock.client import Interlock, Run

HEARD_EVERY = 1.0
"""Seconds between questions to the server about retries: they are not in history before a call has ended."""


class View:
    """With JSON, stdout is for the one object: who asks to follow as well is shown it on stderr.

    hint  what the last line of the live view says of Ctrl-C"""

    def __init__(
        self, common: Common, follow: bool | None, *, hint: str = "Ctrl-C stops watching, not the run"
    ) -> None:
        self._common, self._hint = common, hint
        self._live = screen.is_live(stderr=common.json)
        self._follow = (self._live and not common.json) if follow is None else follow
        self._to = screen.console(stderr=common.json)
        self._watched = ""
        self._ui = ""

    async def heading(self, interlock: Interlock, run: Run) -> None:
        """What a run is called, and where else it can be seen."""
        described = await interlock.describe(run.id)
        self._watched = run.id
        self._ui = present.ui_link(interlock.client.namespace, run.id, described.run_id)
        if not self._common.json or self._follow:
            command = present.show_command(run.id, *self._common.flags())
            screen.fields(self._to, [("run", run.id), ("web", self._ui), ("history", command)])

    async def to_the_end(self, interlock: Interlock, run: Run) -> int:
        """Watch or wait, then the answer. Returns the exit code."""
        from interlock.cli.unattended import telling

        if self._follow:
            await self._watch(interlock, run)
        async with telling(interlock, run, complain):
            result = await run.result()
        if self._common.json:
            screen.write_json({"run": run.id, **result.model_dump(mode="json")})
        else:
            screen.result(self._to, result)
        return OK if result.outcome in ("completed", "degraded") else BROKEN

    def leave(self, run: Run) -> int:
        """Not wait for the end."""
        if self._common.json:
            screen.write_json({"run": run.id, "run_id": run.handle.result_run_id, "ui": self._ui})
        return OK

    def interruptible(self, work: Callable[[], int]) -> int:
        """``work``, which Ctrl-C ends for the person and not for the run."""
        try:
            return work()
        except KeyboardInterrupt:
            if not self._watched:
                raise
            again, end = self._command("follow"), self._command("kill")
            complain(f"stopped watching; the run goes on. Watch it: {again}. End it: {end}")
            return INTERRUPTED

    def _command(self, name: str) -> str:
        return shlex.join(["interlock", name, self._watched, *self._common.flags()])

    async def _watch(self, interlock: Interlock, run: Run) -> None:
        # rich's live display is half of what a command imports: only who watches pays for it.
        from interlock.cli.live import watching
        from interlock.cli.story import Remark, Story
        from interlock.cli.unattended import telling

        story = Story(interlock.client.data_converter)
        self._to.print()
        with watching(self._to, story, live=self._live, hint=self._hint) as lines:
            async with AsyncExitStack() as beside:
                await beside.enter_async_context(telling(interlock, run, lambda said: lines.add(Remark(said, True))))
                if self._live:
                    beside.callback(asyncio.create_task(_listen(run, story)).cancel)
                async for event in interlock.follow(run.id):
                    line = await story.read(event)
                    if line is not None:
                        lines.add(line)
            for call in story.unfinished():
                lines.add(call)


async def _listen(run: Run, story: Story) -> None:
    """Tell the story what the server knows of calls that are being retried. Asks the server, never the run."""
    from temporalio.service import RPCError

    while True:
        await asyncio.sleep(HEARD_EVERY)
        if not story.running:
            continue
        with suppress(RPCError):  # the events tell of a server that is gone
            described = await run.handle.describe()
            for pending in described.raw_description.pending_activities:
                failure = pending.last_failure if pending.HasField("last_failure") else None
                await story.heard(pending.activity_id, pending.attempt, failure)
