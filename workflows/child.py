"""A run that this one has started: what is known of it until it has ended, how it is told something, how it ended."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import workflow
from temporalio.exceptions import (
    ApplicationError,
    ChildWorkflowError,
    FailureError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

from interlock.contracts import AgentResult, Limits, Note, parse
from interlock.policies.children import Ended

NO_CALL_MADE = ("InvalidTask", "UnknownAgent", "UnpricedModel")


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


def how_ended(child: Child, error: FailureError) -> Ended:
    """How it ended, from what Temporal tells of it."""
    cause = error.cause if isinstance(error, ChildWorkflowError) else error
    match cause:
        case WorkflowAlreadyStartedError():
            return Ended("refused", f"a run with the id {child.id} is already under way")
        case ApplicationError(type="RunKilled", details=[result, *_]):
            killed = _result(result)
            return Ended("killed", (killed.reason if killed else None) or "it does not say why", killed)
        case ApplicationError(type=kind, message=message) if kind in NO_CALL_MADE:
            return Ended("refused", f"{kind}: {message}")
        case ApplicationError(type=kind, message=message):
            return Ended("failed", f"{kind}: {message}")
        case _ if is_cancelled_exception(error):
            return Ended("cancelled", result=child.told)
        case _:
            return Ended("lost", str(cause))


def _result(told: object) -> AgentResult | None:
    try:
        return parse(AgentResult, told)
    except ValueError:
        return None
