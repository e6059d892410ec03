"""A run that this one has started: what is known of it until it has ended, and how it is told something."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from interlock.contracts import AgentResult, Limits, Note


@dataclass
class Child:
    """A run that this one has started, until it has ended. ``given``: what it may use, which nobody else can meanwhile.
    ``told``: what it said of itself before it was cancelled. ``waits``: for people."""

    id: str
    agent: str
    given: Limits
    started: bool = False
    over: bool = False
    waits: bool = False
    told: AgentResult | None = None

    async def tell(self, name: str, note: Note) -> None:
        """Send it a signal."""
        said = Note(reason=note.reason, by=note.by)
        try:
            await workflow.get_external_workflow_handle(self.id).signal(name, said)
        except ApplicationError as error:  # it has just ended
            workflow.logger.info("run %s was not told to %s: %s", self.id, name, error)
