"""The search attributes of a run, by which the Temporal UI, ``interlock list`` and alerts find it.

The server is strict about types: an int given to a Double fails the workflow task, which looks like a run
that hangs. So the keys are made here, once, with their types.
"""

from __future__ import annotations

import re
from typing import Any, Literal, TypeAlias

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from interlock.contracts import AgentTask, input_hash

Indexed: TypeAlias = Literal["Keyword", "Double", "Int"]

AGENT_NAME = SearchAttributeKey.for_keyword("AgentName")
AGENT_USER = SearchAttributeKey.for_keyword("AgentUser")
AGENT_STATE = SearchAttributeKey.for_keyword("AgentState")
AGENT_OUTCOME = SearchAttributeKey.for_keyword("AgentOutcome")
AGENT_MODEL = SearchAttributeKey.for_keyword("AgentModel")
AGENT_INPUT_HASH = SearchAttributeKey.for_keyword("AgentInputHash")
AGENT_COST_USD = SearchAttributeKey.for_float("AgentCostUsd")
AGENT_STEPS = SearchAttributeKey.for_int("AgentSteps")
AGENT_TOOL_CALLS = SearchAttributeKey.for_int("AgentToolCalls")

KEYS: dict[str, SearchAttributeKey[Any]] = {
    key.name: key
    for key in (
        AGENT_NAME,
        AGENT_USER,
        AGENT_STATE,
        AGENT_OUTCOME,
        AGENT_MODEL,
        AGENT_INPUT_HASH,
        AGENT_COST_USD,
        AGENT_STEPS,
        AGENT_TOOL_CALLS,
    )
}

SEARCH_ATTRIBUTES: dict[str, Indexed] = {
    name: "Keyword" if key.value_type is str else "Double" if key.value_type is float else "Int"
    for name, key in KEYS.items()
}


def at_start(task: AgentTask) -> TypedSearchAttributes:
    """So that a run is found by its agent and user also while it still waits for a worker."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(AGENT_NAME, task.agent),
            SearchAttributePair(AGENT_USER, task.user_id),
            SearchAttributePair(AGENT_STATE, "starting"),
            SearchAttributePair(AGENT_INPUT_HASH, input_hash(task.agent, task.input)),
        ]
    )


def of_user(user: str) -> list[str]:
    """A filter for one user's runs. The server finds no value with a double quote, a backslash or a control
    character in it, however it is written: there, the part before it has to do, and the reader takes out the rest."""
    plain = re.split(r'["\\\x00-\x1f\x7f]', user, maxsplit=1)[0]
    quoted = "'" + plain.replace("'", "''") + "'"
    if plain == user:
        return [f"{AGENT_USER.name} = {quoted}"]
    return [f"{AGENT_USER.name} STARTS_WITH {quoted}"] if plain else []
