"""``worker.py`` refuses what it cannot serve: one line, exit code 2, nothing started."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
    RemoveSearchAttributesRequest,
)
from temporalio.client import Client

from interlock.embedded import free_port, start_server
from interlock.errors import InterlockError, NoServer
from interlock.registration import register_search_attributes
from interlock.search_attributes import SEARCH_ATTRIBUTES
from interlock.testing import temporal_server
from interlock.worker_flags import parse
from tests import warm
from tests.root import source_root

GOOD = '''
from interlock import Agent, tool
from interlock.testing import ScriptedModel, say
m = ScriptedModel("m", [say("hi")])
@tool
def look() -> str:
    """Look."""
    return ""
one = Agent(name="one", instructions="", models=m.model, tools=[look])
'''


@pytest.mark.parametrize(
    ("source", "reference", "said"),
    [
        ("", "bad", "bad has no Agent at module level"),
        (GOOD, "bad:two", "bad has no Agent 'two'; it has: one"),
        (GOOD, "nosuch", "there is no module 'nosuch'"),
        (GOOD, "no.such.module", "there is no module 'no.such.module'"),
        ("import nosuch", "bad", "bad imports 'nosuch', which is not installed"),
        ("1 / 0", "bad", "ZeroDivisionError"),
        (GOOD + "from interlock import Limits\nLimits(usd='-1')", "bad", "Limits: usd: Input should be greater than"),
        (GOOD + 'two = Agent(name="one", instructions="", models=m.model)', "bad", "two agents are named 'one'"),
        (
            GOOD + 'two = Agent(name="two", instructions="", models=m.model, tools='
            '[Agent(name="one", instructions="", models=m.model)])',
            "bad",
            "two agents are named 'one'",
        ),
        (
            GOOD + 'two = Agent(name="two", instructions="", models=m.model, tools='
            '[Agent(name="three", instructions="", models="nosuch:m")])',
            "bad:two",
            "agent three: ",
        ),
        (
            GOOD + '@tool(name="look")\ndef see() -> str:\n    "See."\n    return ""\n'
            'two = Agent(name="two", instructions="", models=m.model, tools=[see])',
            "bad",
            "two tools are named 'look': bad.look and bad.see",
        ),
        (GOOD + 'two = Agent(name="two", instructions="", models="gpt-5")', "bad", "'gpt-5' is not provider:model"),
        (GOOD + 'two = Agent(name="two", instructions="", models="nosuch:gpt-5")', "bad", "nosuch:gpt-5"),
        (GOOD + 'two = Agent(name="two", instructions="", models="scripted:x")', "bad", "known: scripted:m"),
        ('raise SystemExit("bye")', "bad", "--agents bad: SystemExit: bye"),
        (GOOD, ":one", "--agents ':one': it names no module"),
    ],
)
async def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path, source: str, reference: str, said: str) -> None:
    (tmp_path / "bad.py").write_text(source)
    assert said in await refused(tmp_path, "--agents", reference)


async def refused(directory: Path, *arguments: str, **environment: str) -> str:
    """The one line of a worker that does not start."""
    out, err = directory / "out", directory / "err"
    process = warm.begin(
        "worker.py", arguments, environment={**os.environ, **environment}, out=out, err=err, directory=directory
    )
    try:
        code = await asyncio.wait_for(process.wait(), 60)
    finally:
        process.kill()
    assert code == 2
    [line] = err.read_text().splitlines()
    return line


@pytest.mark.parametrize("grace", ["nan", "inf", "-1", "1e20", "soon"])
def test_a_grace_that_is_no_span_of_time(grace: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse([f"--grace={grace}"])
    assert ended.value.code == 2
    assert f"argument --grace: '{grace}' is not a number of seconds from 0 to" in capsys.readouterr().err


@pytest.mark.parametrize("which", ["port", "ui_port"])
async def test_a_port_that_somebody_listens_on_is_not_joined(which: str) -> None:
    """Whoever connected would be served by the other one."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(NoServer, match=f"port {port} on 127.0.0.1 cannot be had"):
            await start_server(**{which: port})


def test_a_free_port_is_kept_for_the_server_it_was_chosen_for() -> None:
    port = free_port()
    with socket.socket() as anybody, pytest.raises(OSError, match="in use"):
        anybody.bind(("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", port)):
        pass


async def test_the_queue_of_the_runs_is_not_the_fleets(tmp_path: Path) -> None:
    said = await refused(tmp_path, "--task-queue", "interlock-fleet")
    assert "cannot share the task queue 'interlock-fleet'" in said


def test_a_library_of_providers_is_imported_when_the_first_of_its_models_is_named() -> None:
    program = """
import sys, worker
provider = worker.default_providers().of("openai:gpt-5")
print("pydantic_ai" in sys.modules)
provider.check("openai:gpt-5")
print("pydantic_ai" in sys.modules)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=source_root(), check=False)
    assert (done.stdout, done.stderr) == ("False\nTrue\n", "")


async def test_a_word_for_the_log_that_nobody_knows_is_one_line(tmp_path: Path) -> None:
    known = "DEBUG, INFO, WARNING, ERROR, CRITICAL"
    said = await refused(tmp_path, INTERLOCK_LOG_LEVEL="verbose")
    assert said == f"worker.py: INTERLOCK_LOG_LEVEL is one of {known}; got 'verbose'"


def test_no_server_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(GOOD)
    command = [sys.executable, str(source_root() / "worker.py"), "--agents", "good"]
    environment = {"TEMPORAL_ADDRESS": "127.0.0.1:1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.returncode == 2
    assert "no Temporal server answers at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


async def test_search_attributes_are_registered_where_they_are_missing(tmp_path: Path) -> None:
    async with temporal_server() as environment:
        client: Client = environment.client
        await client.operator_service.remove_search_attributes(
            RemoveSearchAttributesRequest(namespace="default", search_attributes=["AgentCostUsd", "AgentSteps"])
        )
        assert sorted(await register_search_attributes(client)) == ["AgentCostUsd", "AgentSteps"]
        assert await register_search_attributes(client) == []
        listed = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace="default"))
        assert set(SEARCH_ATTRIBUTES) <= set(listed.custom_attributes)
        # Where they cannot be, an operator is told what to do: this server has room for three of that type.
        await client.operator_service.remove_search_attributes(
            RemoveSearchAttributesRequest(namespace="default", search_attributes=["AgentCostUsd"])
        )
        double = IndexedValueType.INDEXED_VALUE_TYPE_DOUBLE
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace="default", search_attributes={f"Other{number}": double for number in range(3)}
            )
        )
        with pytest.raises(InterlockError) as refused:
            await register_search_attributes(client)
        [said] = str(refused.value).splitlines()
        assert "search attributes are missing in namespace default and could not be added (" in said
        command = "temporal operator search-attribute create --namespace default --name AgentCostUsd --type Double"
        assert said.endswith(f"An operator adds them with: {command}")


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "not an address", ":"])
async def test_an_address_that_is_none_is_one_line(address: str, tmp_path: Path) -> None:
    said = await refused(tmp_path, "--agents", "tests.chaos.spenders", TEMPORAL_ADDRESS=address, PYTHONPATH=".")
    assert said.startswith(f"worker.py: cannot connect to '{address}': ")
    assert said.endswith("TEMPORAL_ADDRESS takes HOST:PORT")


async def test_a_configuration_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "temporal.toml").write_text("x = [")
    said = await refused(
        tmp_path, "--agents", "tests.chaos.spenders", TEMPORAL_CONFIG_FILE=str(tmp_path / "temporal.toml")
    )
    assert said.startswith("worker.py: the Temporal configuration cannot be read: ")
