"""Questions to people: may a call be made, did one take effect? And whose answer counts.

    tool            the predicate said          a person must decide
    ---------------------------------------------------------------
    always          -                           yes
    predicate       a reason                    yes, for that reason
    predicate       nothing                     no
    predicate       was not asked, or failed    yes: nobody knows that it need not be
    -               -                           no

* An answer is for one call, by its id, and for its arguments, by their hash. It is used once.
* The first answer counts; a later one is refused, and told whose was first.
* A question that nobody answers in time is answered with no.
* A decision that names no hash is for the arguments that wait; one that names another is refused.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from interlock.contracts import AgentSpec, Decided, Decision, PendingApproval, ToolSpec

MOST_SUMMARY = 300
"""Bytes of a timer's summary."""

OUTCOME = "-outcome"
"""Ends the id of the question what became of a call: an answer to whether to make it must not answer that."""


def arguments_hash(tool: str, arguments: str) -> str:
    return hashlib.sha256(f"{tool}\x00{arguments}".encode(errors="replace")).hexdigest()[:16]


def needed(tool: ToolSpec, said: str | None) -> str | None:
    """Why a person must decide on a call, in words; ``None``: nobody need. ``said``: what the tool's predicate said;
    ``None``: it was not asked."""
    match tool.approval:
        case None:
            return None
        case "always":
            return f"every call of {tool.name} needs approval"
        case "predicate":
            return f"the worker could not ask {tool.name} whether it needs approval" if said is None else said or None


def expires(agent: AgentSpec, tool: ToolSpec, since: datetime) -> datetime:
    return since + timedelta(seconds=tool.approval_timeout or agent.approval_timeout)


def refusal(waiting: Mapping[str, PendingApproval], decided: Sequence[Decided], decision: Decision) -> str | None:
    """Why a decision does not count, in words; ``None``: it does."""
    asked = decision.call_id
    if (pending := waiting.get(asked)) is not None:
        if decision.arguments_hash in (None, pending.arguments_hash):
            return None
        return (
            f"the decision on call {asked!r} is for other arguments ({decision.arguments_hash}); those that wait are "
            f"{pending.summary} ({pending.arguments_hash})"
        )
    if (first := next((each for each in reversed(decided) if each.call_id == asked), None)) is not None:
        return f"call {asked!r} was already {closed(first)}"
    waits = ", ".join(f"{each.call_id} {each.tool}" for each in waiting.values()) or "nothing"
    return f"no call {asked!r} waits for a decision in this run; waiting: {waits}"


def closed(decided: Decided) -> str:
    """``approved by ann at 2026-11-23 05:02:41 UTC: go ahead``."""
    at = f"{decided.at:%Y-%m-%d %H:%M:%S} UTC"
    if decided.verdict == "expired":
        return f"rejected: nobody had decided by {at}"
    return f"{decided.verdict} by {decided.by} at {at}{f': {decided.reason}' if decided.reason else ''}"


def rejected(tool: str, decided: Decided) -> str:
    """What the model is told of a call that a person did not let through."""
    if decided.verdict == "expired":
        return f"Not run: nobody approved {tool} in time."
    why = f": {decided.reason}" if decided.reason else ""
    return f"Not run: {decided.by} rejected {tool}{why}."


# -- how it is shown ----------------------------------------------------------------------------------------


def question(pending: PendingApproval) -> str:
    """``waiting for approval of send_email``."""
    if pending.kind == "outcome":
        return f"waiting for word whether {pending.tool} took effect"
    return f"waiting for approval of {pending.tool}"


def timer(run: str, pending: PendingApproval) -> str:
    """``waiting for approval of send_email · interlock approve RUN CALL``: the summary of the timer. Servers refuse a
    long one: a command is there whole, or not at all."""
    text = f"{question(pending)} · {commands(run, pending)[0]}"
    return text if len(text.encode(errors="replace")) <= MOST_SUMMARY else question(pending)


def visible(arguments: str) -> str:
    """What a person decides on: the same JSON, in which every character can be seen. One that turns the text round, or
    has no width, would have another call approved than the one that is read."""
    return "".join(each if each.isprintable() or each in "\n\r\t" else json.dumps(each)[1:-1] for each in arguments)


def commands(run: str, pending: PendingApproval) -> tuple[str, str]:
    """What a person types to decide: yes, and no."""
    yes, no = (shlex.join(["interlock", word, run, pending.call_id]) for word in ("approve", "reject"))
    return yes, no
