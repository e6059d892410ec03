"""How an attempt at a tool ended badly: what the model is told of it, what the log, and what the fleet's breakers.

The model is told in a line; values of secrets are in neither.
"""

from __future__ import annotations

import time
import traceback

import structlog
from temporalio import activity

from activities.outages import tells_of_outage
from interlock.agent_tools import AgentTool
from interlock.contracts import ToolCall
from interlock.errors import Failure, Kind
from interlock.policies import outcomes
from interlock.secrets import redacted

log = structlog.get_logger("interlock.tools")

MOST_LOGGED = 64 * 1024
"""Characters of an error that a tool raised."""

OF_A_TOOL: tuple[Kind, ...] = ("ToolFailed", "ToolArgumentsInvalid", "ToolOutcomeUnknown")


def unfit(tool: AgentTool, error: ValueError) -> str:
    """Its arguments are not what it takes."""
    said = str(error)[:2000].encode(errors="replace").decode()
    return f"the arguments of {tool.name} do not fit: {said}. Nothing was run."


def known(failure: Failure, call: ToolCall) -> Failure:
    """What a tool itself knows of a failed attempt. A write that may have taken effect is not a mere failure."""
    said = redacted(str(failure))
    if failure.__cause__ is not None:
        log.warning(
            "tool.raised", tool=call.tool, call_id=call.call_id, error=in_a_line(failure), where=_where(failure)
        )
    unknown = failure.kind == "ToolFailed" and failure.fate == "unknown" and call.effect == "write"
    return Failure(
        "ToolOutcomeUnknown" if unknown else failure.kind,
        f"{said}. {outcomes.UNKNOWN}" if unknown else said,
        retry_after=failure.retry_after,
        fate=failure.fate,
        outage=failure.outage,
    )


def raised(tool: AgentTool, call: ToolCall, error: BaseException) -> Failure:
    """The model is told what kind of error it was and what it said, in a line; the log is told all of it."""
    log.warning("tool.raised", tool=tool.name, call_id=call.call_id, error=in_a_line(error), where=_where(error))
    said, outage = f"{tool.name} failed: {in_a_line(error)}", tells_of_outage(error)
    # What it calls did not answer: who writes cannot know whether it was heard. One that knows raises ToolError.
    if outage and call.effect == "write":
        return Failure("ToolOutcomeUnknown", f"{said}. {outcomes.UNKNOWN}", fate="unknown", outage=True)
    return Failure("ToolFailed", said, fate="unknown", outage=outage)


def worker_ends() -> bool:
    """Whether it is the worker that stops a call, and not its run. The SDK would report a failure that says neither
    that the tool had begun nor that nobody knows how far it came."""
    details = activity.cancellation_details()
    return details is not None and details.worker_shutdown


def abandoned(tool: AgentTool, call: ToolCall) -> Failure:
    log.warning("tool.abandoned", tool=tool.name, call_id=call.call_id)
    said = f"the worker ended while {tool.name} ran. {outcomes.UNKNOWN}"
    return Failure("ToolOutcomeUnknown", said, fate="unknown")


def broken_off(tool: AgentTool, call: ToolCall) -> Failure:
    """A call that was cancelled, and not by its run: reset or paused by an operator, or unknown to a server that has
    just been started again."""
    log.warning("tool.broken_off", tool=tool.name, call_id=call.call_id)
    said = f"{tool.name} was broken off; nobody asked for its end"
    if call.effect != "write":
        return Failure("ToolFailed", said, fate="unknown")
    return Failure("ToolOutcomeUnknown", f"{said}. {outcomes.UNKNOWN}", fate="unknown")


def timed_out(tool: AgentTool, call: ToolCall, began: float) -> Failure:
    """A write that was given up on may have taken effect all the same; the model is told so."""
    log.warning("tool.timed_out", tool=tool.name, call_id=call.call_id)
    said = f"{tool.name} did not finish within {time.monotonic() - began:.1f} s"
    if call.effect != "write":
        return Failure("ToolFailed", said, fate="unknown", outage=True)
    return Failure("ToolOutcomeUnknown", f"{said}. {outcomes.UNKNOWN}", fate="unknown", outage=True)


def given_up(failure: Failure, call: ToolCall) -> Failure:
    """A failure, should it be the last one. Of an idempotent call the model has to know that this attempt, or one
    before it, may have taken effect: it would ask for the same again, under a key that nobody has seen."""
    unsure = failure.fate == "unknown" or activity.info().attempt > 1
    if (
        call.effect != "idempotent"
        or failure.kind not in ("ToolFailed", "CircuitOpen", "FleetUnreachable")
        or not unsure
    ):
        return failure
    return Failure(
        failure.kind,
        f"{failure}. {outcomes.TRIED}",
        retry_after=failure.retry_after,
        fate=failure.fate,
        outage=failure.outage,
        told=failure.told,
    )


def _where(error: BaseException) -> str:
    """The whole of it, with what it was raised from: the lines of code, and all lines of the messages. Only one of
    megabytes is cut, in its middle: to render that would keep the worker from everything else."""
    try:
        text = redacted("".join(traceback.format_exception(error)))
    except Exception as problem:  # noqa: BLE001  # what formats it calls code of the error's own
        return f"it cannot be shown: {type(problem).__name__}"
    half = MOST_LOGGED // 2
    return text if len(text) <= MOST_LOGGED else f"{text[:half]}\n[...]\n{text[-half:]}"


def in_a_line(error: BaseException) -> str:
    try:
        lines = redacted(str(error)).strip().splitlines()
    except Exception as problem:  # noqa: BLE001  # its own code
        lines = [f"a message that cannot be shown ({type(problem).__name__})"]
    said = lines[0][:500].encode(errors="replace").decode() if lines else "no message"
    return f"{type(error).__name__}: {said}"
