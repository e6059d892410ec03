"""A key that is wrong, missing or malformed, on the command line and at a worker's start: one line, no traceback."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.client import Client

from interlock import Agent
from interlock.cli import BROKEN, MISUSED, OK
from interlock.keys import Keys, new_key
from interlock.testing import ScriptedModel, say
from tests.cli.conftest import CommandLine, environment
from tests.conftest import Serve
from tests.root import source_root
from tests.runs.sealed import with_keys

SOUND = base64.b64encode(bytes(32)).decode()  # the same in every process that collects these tests

MALFORMED = [
    ("not base64!", "not base64"),
    ("c2hvcnQ=", "has 5 bytes, not 32"),
    (",", "key 1 of 2 is empty"),
    (f"{SOUND},c2hvcnQ=", "key 2 of 2 has 5 bytes"),
    ("ключ", "not base64"),
]


def having(cli: CommandLine, key: str) -> CommandLine:
    return replace(cli, environment={**cli.environment, "INTERLOCK_ENCRYPTION_KEY": key})


@pytest.mark.parametrize(("key", "says"), MALFORMED)
async def test_a_malformed_key_is_one_line(cli: CommandLine, key: str, says: str) -> None:
    for command in (("status", "some-run"), ("run", "agent", "input"), ("list",), ("codec-server", "--port", "0")):
        ran = await having(cli, key)(*command)
        assert (ran.code, ran.out) == (MISUSED, "")
        assert f"INTERLOCK_ENCRYPTION_KEY{': ' if 'key ' in says else ''}" in ran.complaint
        assert says in ran.complaint
        assert "interlock codec-server --new-key" in ran.complaint
        assert key == "," or key not in ran.complaint


async def test_a_worker_with_a_malformed_key_does_not_start(temporal: Client) -> None:
    address = temporal.service_client.config.target_host
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "worker.py",
        cwd=source_root(),
        env=environment(TEMPORAL_ADDRESS=address, INTERLOCK_ENCRYPTION_KEY="c2hvcnQ="),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    [line] = err.decode().splitlines()
    assert line.startswith("worker.py: INTERLOCK_ENCRYPTION_KEY has 5 bytes")


async def test_a_new_key_is_printed_and_works(cli: CommandLine) -> None:
    made = await cli("codec-server", "--new-key")
    assert made.code == OK
    assert len(Keys.parse(made.out.strip()).by_id) == 1
    assert (await cli("codec-server", "--new-key")).out != made.out


async def test_with_the_key_everything_is_shown_and_without_it_one_line(
    cli: CommandLine, temporal: Client, serve: Serve, tmp_path: Path
) -> None:
    key, name = new_key(), f"keyed{uuid.uuid4().hex[:6]}"
    agent = Agent(name=name, instructions="x", models=ScriptedModel(name, [say("answerword")]).model)
    client = with_keys(temporal, Keys.parse(key), tmp_path / "store")
    async with serve(agent, client=client) as served:
        here = cli.on(served)
        ran = await having(here, key)("run", name, "promptword", "--json")
        assert ran.code == OK
        assert ran.json["output"] == "answerword"
        run = ran.json["run"]
        assert "promptword" not in run
        assert "promptword" in (await having(here, key)("transcript", run)).out
        assert "$0.0000" in (await having(here, key)("status", run)).out
        followed = await having(here, key)("follow", run)
        assert followed.code == OK
        assert "answerword" in followed.out
        wrong = new_key()
        for other, why in (("", "INTERLOCK_ENCRYPTION_KEY is not set"), (wrong, "INTERLOCK_ENCRYPTION_KEY does not")):
            for command in (("status", run), ("transcript", run), ("follow", run), ("run", name, "promptword")):
                ran = await having(here, other)(*command)
                assert ran.code == BROKEN, (command, ran)
                [line] = ran.err.splitlines()
                assert why in line, (command, ran)
                assert Keys.parse(key).first in line
                assert "Traceback" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ("--host 0.0.0.0", "--expose"),
        ("--host example.com", "--expose"),
        ("--port 65536", "--port"),
        ("--origin *", "--origin"),
        ("--origin localhost:8233", "--origin"),
        ("--origin http://a/b", "--origin"),
        ("--origin http://me@a", "--origin"),
    ],
)
async def test_a_codec_server_that_others_could_reach_is_refused(cli: CommandLine, arguments: str, names: str) -> None:
    ran = await having(cli, new_key())("codec-server", *arguments.split())
    assert ran.code == MISUSED
    assert names in ran.complaint


async def test_a_codec_server_needs_a_key(cli: CommandLine) -> None:
    ran = await cli("codec-server")
    assert ran.code == MISUSED
    assert "INTERLOCK_ENCRYPTION_KEY is not set: a key is" in ran.complaint


async def test_who_exposes_it_is_told_to_whom(cli: CommandLine) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "interlock.cli", "codec-server", "--host", "0.0.0.0", "--expose", "--port", "0"),
        env={**cli.environment, "INTERLOCK_ENCRYPTION_KEY": new_key(), "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    said = await asyncio.wait_for(process.stderr.readline(), 25)
    process.terminate()
    await process.wait()
    assert b"whoever reaches 0.0.0.0:" in said
