"""What comes to a run from outside, read: its task, its signals and its updates. What cannot be read hurts nobody else.

A task is refused when the run begins, a signal is counted, logged and ignored, an update is refused.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel
from temporalio.exceptions import ApplicationError

from interlock.contracts import AgentTask, Carried, parse, parse_one
from interlock.telemetry import names
from workflows import carrying, seen
from workflows.run_state import Run

M = TypeVar("M", bound=BaseModel)


def task(args: tuple[Any, ...]) -> tuple[Run, str | None]:
    """The run that is to be done, or to go on; and why its input is refused, if it is."""
    given = args[0] if len(args) == 1 else None
    try:
        if isinstance(given, dict) and given.get("kind") == "interlock.carried":
            return carrying.carried(parse(Carried, given)), None
        if len(args) != 1:
            raise ValueError(f"AgentRun takes one AgentTask; {len(args)} arguments were given")
        return Run.fresh(parse(AgentTask, given)), None
    except ValueError as error:
        return Run.fresh(AgentTask(agent="unknown", input="unreadable")), str(error)


def signal(run: Run, model: type[M], args: tuple[Any, ...], name: str) -> M | None:
    """The payload of a signal; ``None``: it cannot be read."""
    try:
        if len(args) > 1:
            raise ValueError(f"takes one JSON object; {len(args)} were given")
        given = args[0] if args else None
        return parse(model, {} if given is None else given)  # some clients send null where they send nothing
    except ValueError as error:
        run.ignored_signals += 1
        seen.warn(names.SIGNAL_IGNORED, signal=name, error=str(error))
        return None


def update(model: type[M], args: tuple[Any, ...]) -> M:
    """The argument of an update. One that was accepted may be unreadable to another worker that replays it: that fails
    the update and not the task."""
    try:
        return parse_one(model, args)
    except ValueError as error:
        raise ApplicationError(str(error), type="ValueError") from None
