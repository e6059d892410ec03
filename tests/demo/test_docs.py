"""``docs/agents.md`` names every field there is, with its default, and no other."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from interlock import Account, Agent, Limits, Retry, ToolContext, mcp, tool
from interlock.errors import TABLE
from interlock.testing import SCRIPTS
from interlock.tools import Tool
from tests.root import source_root

PAGE = (source_root() / "docs/agents.md").read_text()
NEVER_SEEN_BY_AUTHORS = {"CircuitOpen", "BudgetExceeded", "TranscriptMismatch"}
"""Of calls that are not made yet, or a defect of ours."""


def rows(after: str) -> dict[str, str]:
    """The first table after a text: name -> second column."""
    table = PAGE.partition(after)[2].partition("\n|")[2].partition("\n\n")[0]
    return dict(re.findall(r"^\|? ?`(\w+)` \| ([^|]*) ?\|", table, re.MULTILINE))


def fields(kind: type[Any]) -> list[str]:
    if issubclass(kind, BaseModel):
        return list(kind.model_fields)
    return [field.name for field in dataclasses.fields(kind)]


@pytest.mark.parametrize(
    ("after", "kind"),
    [
        ("## Agent\n", Agent),
        ("## Limits", Limits),
        ("## Account", Account),
        ("## Retry", Retry),
        ("`ToolContext` is", ToolContext),
    ],
)
def test_a_table_has_every_field(after: str, kind: type) -> None:
    assert list(rows(after)) == fields(kind)


def test_the_options_of_a_tool_and_their_defaults() -> None:
    parameters = list(inspect.signature(Tool.__init__).parameters.values())[2:]
    told = {name: default.strip().strip("`").strip('"') for name, default in rows("## @tool").items()}
    assert told == {parameter.name: str(parameter.default) for parameter in parameters}


def test_the_options_of_an_mcp_server_and_their_defaults() -> None:
    parameters = list(inspect.signature(mcp).parameters.values())[1:]
    told = {name: default.strip().strip("`") for name, default in rows("## Tools of an MCP server").items()}
    assert told == {parameter.name: str(parameter.default) for parameter in parameters}


def test_the_defaults_of_retries() -> None:
    told = {name: default.strip().strip("`") for name, default in rows("## Retry").items()}
    assert told == {name: str(value) for name, value in Retry().model_dump().items()}


def test_the_defaults_of_an_agent() -> None:
    told = {name: default.strip().strip("`") for name, default in rows("## Agent\n").items()}
    for field in dataclasses.fields(Agent):
        if field.default is not dataclasses.MISSING:
            assert told[field.name].replace('"', "'") == repr(field.default), field.name
        elif field.default_factory is dataclasses.MISSING:
            assert told[field.name] == "", field.name


def test_every_kind_of_error_is_there() -> None:
    table = set(re.findall(r"`([A-Z]\w+)`", PAGE.partition("## Errors")[2].partition("Client code")[0]))
    assert table - {"ToolError", "AgentResult"} == set(TABLE) - NEVER_SEEN_BY_AUTHORS


def test_its_code_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    @tool(effect="read")
    def search(text: str) -> str:
        """Search."""
        return text

    [block] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {"search": search}
    exec(block.replace("from my_agents import search\n", ""), names)
    assert isinstance(names["agent"], Agent)
    assert SCRIPTS.pop("two-errors").model == "scripted:two-errors"


def test_the_effects_are_all_explained() -> None:
    from interlock.contracts import Effect

    assert all(f'`"{effect}"`' in PAGE for effect in get_args(Effect))
