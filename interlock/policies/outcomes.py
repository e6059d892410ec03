"""What is done about a call whose fate nobody knows: its worker was lost, or it did not report back in time.

    effect             what is done
    ----------------------------------------------------------------------------
    read               nothing: it was tried again
    idempotent         it was tried again, under the same key; and where that was not to be, because what it relies on
                       has changed since, as for a write
    write              never run again by the run itself, but, in this order:
                       the tool's verify function is asked, if it has one
                       a person is asked, where the agent or the tool says ``ask``
                       the model is told ToolOutcomeUnknown

A verdict ends the search; a question without an answer passes on to the next.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from interlock.contracts import AgentSpec, Decided, ToolSpec, Verdict

Next: TypeAlias = Literal["verify", "ask", "tell"]

UNKNOWN = "It may or may not have taken effect, and it will not be run again by itself."

TRIED = "It may or may not have taken effect; asked for again, it would be another call, with another key."
"""Of an idempotent call that is given up on: only under its own key is it safe to try again."""


def next_step(agent: AgentSpec, tool: ToolSpec, asked: tuple[Next, ...]) -> Next:
    """Whom to ask, after those who had no answer."""
    if tool.verifies and "verify" not in asked:
        return "verify"
    return "ask" if (tool.on_unknown or agent.on_unknown) == "ask" and "ask" not in asked else "tell"


def question(known: str) -> str:
    """What a person is asked."""
    return f"{known} approve: it did take effect. reject: it did not"


def verified(tool: str, verdict: Verdict, content: str) -> tuple[str, bool] | None:
    """What the model is told after the tool's function was asked, and whether it is an error; ``None``: it could not
    tell."""
    match verdict:
        case "happened":
            return content or f"{tool} did not report back, and was found to have taken effect.", False
        case "did_not_happen":
            return f"ToolFailed: {tool} did not report back, and was found not to have taken effect.", True
        case "unknown":
            return None


def answered(tool: str, decided: Decided) -> tuple[str, bool] | None:
    """The same, after a person was asked."""
    why = f": {decided.reason}" if decided.reason else ""
    match decided.verdict:
        case "approved":
            return f"{tool} did not report back; {decided.by} says that it took effect{why}.", False
        case "rejected":
            return f"ToolFailed: {tool} did not report back; {decided.by} says that it took no effect{why}.", True
        case "expired":
            return None


def told(known: str) -> str:
    """What the model is told where nobody knows."""
    text = known if known.startswith("ToolOutcomeUnknown") else f"ToolOutcomeUnknown: {known}"
    return text if UNKNOWN in text else f"{text} {UNKNOWN}"
