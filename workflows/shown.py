"""How a run is shown while it goes on: in search attributes, which lists and alerts read.

A change of search attributes is an event in history and a write to the server's index. It costs less than anything
that would put it off: a timer that fires is two events and a task of the workflow, which is three more. So each call
that begins brings them up to date at once, in the task that begins it. Only a run that does so more often than its
agent's ``index_every`` for longer than ``index_burst`` changes has them put off; and then a timer catches up after
``index_late``, so that a run which ends such a chase in a long call does not show an old step until it is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from temporalio import workflow

from interlock import search_attributes as sa
from interlock.contracts import input_hash

if TYPE_CHECKING:
    from workflows.run_state import Run


@dataclass
class Shown:
    """What the index knows of a run. It begins anew with each execution, from what the server says."""

    known: dict[str, object] = field(default_factory=dict)
    _paid_until: datetime | None = None
    _at_once: bool = False
    _keeping: asyncio.Task[None] | None = None

    def begin(self, attributes: Mapping[str, object]) -> None:
        """What whoever started the run has set already."""
        self.known.update(attributes)

    def change(self, run: Run, *, at_once: bool) -> None:
        """The run has changed: show it. ``at_once``: however often that happens, as with a change of state."""
        if run.state == "closed":
            self._upsert(run)  # nothing may come after it
            return
        if not self._changed(run):
            return
        self._at_once = self._at_once or at_once
        if self._keeping is None:
            # A task, so that all that changes before the run waits for something is one event.
            self._keeping = asyncio.create_task(self._keep(run))

    async def _keep(self, run: Run) -> None:
        try:
            if not self._at_once and self._in_debt(run):
                await workflow.wait_condition(
                    lambda: self._at_once,
                    timeout=run.spec.index_late,
                    timeout_summary="then bring the search attributes up to date",
                )
        except TimeoutError:
            pass
        finally:
            self._keeping = None
        if run.state != "closed":
            self._upsert(run)

    def _in_debt(self, run: Run) -> bool:
        """Whether the run has changed its search attributes more often than it may."""
        if self._paid_until is None:
            return False
        allowed = timedelta(seconds=run.spec.index_every * (run.spec.index_burst - 1))
        return self._paid_until - allowed > workflow.now()

    def _upsert(self, run: Run) -> None:
        self._at_once = False
        if changed := self._changed(run):
            workflow.upsert_search_attributes([sa.KEYS[name].value_set(value) for name, value in changed.items()])
            self.known.update(changed)
            if run.resolved:
                now = workflow.now()
                self._paid_until = max(now, self._paid_until or now) + timedelta(seconds=run.spec.index_every)

    def _changed(self, run: Run) -> dict[str, object]:
        now: dict[str, object] = {
            sa.AGENT_NAME.name: run.task.agent,
            sa.AGENT_USER.name: run.task.user_id,
            sa.AGENT_STATE.name: run.state,
            sa.AGENT_INPUT_HASH.name: input_hash(run.task.agent, run.task.input),
            sa.AGENT_COST_USD.name: float(run.usage.usd),
            sa.AGENT_STEPS.name: run.step,
            sa.AGENT_TOOL_CALLS.name: run.tool_calls,
        }
        if run.outcome is not None:
            now[sa.AGENT_OUTCOME.name] = run.outcome
        if run.routing:
            now[sa.AGENT_MODEL.name] = run.routing[-1].model
        return {name: value for name, value in now.items() if self.known.get(name) != value}
