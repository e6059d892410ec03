"""Results that are too long for a history: cut there, and whole in the store, where people can read them."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.converter import PayloadCodec

from activities import results as kept_results
from interlock import Agent, results, tool
from interlock.cli import OK
from interlock.contracts import ToolMessage
from interlock.converter import data_converter, store_directory
from interlock.errors import BadRequest
from interlock.keys import Keys, new_key
from interlock.testing import ScriptedModel, call, say
from tests.cli.conftest import CommandLine, cli
from tests.conftest import Serve, Served

__all__ = ["cli"]

LONG = "é and more, " * 800_000


@tool(effect="read")
def long() -> str:
    """Ten megabytes."""
    return LONG


def agent() -> Agent:
    model = ScriptedModel("kept", [call("long"), say("done")])
    return Agent(name="kept", instructions="", models=model.model, tools=[long])


async def told(served: Served) -> tuple[str, str]:
    """The run, and what its model was told of the one call."""
    run = await served.start("kept")
    assert (await served.end(run)).output == "done"
    history = await run.handle.fetch_history()
    assert sum(event.ByteSize() for event in history.events) < 200_000
    [message] = [each for each in (await served.interlock.transcript(run.id)).messages if isinstance(each, ToolMessage)]
    assert not message.is_error
    assert message.content.startswith(LONG[:1000])
    return run.id, message.content


def digest(content: str) -> str:
    found = re.search(r"; the whole is in the store: results/([0-9a-f]{64}); ask for less at a time\]$", content)
    assert found, content[-300:]
    return found[1]


async def test_the_whole_result_is_in_the_store_by_its_hash(serve: Serve, cli: CommandLine) -> None:
    async with serve(agent()) as served:
        run, content = await told(served)
        again, _ = await told(served)
    sha = digest(content)
    path = store_directory() / "results" / sha
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha == hashlib.sha256(LONG.encode()).hexdigest()
    assert [each.name for each in path.parent.iterdir() if each.name.startswith(sha)] == [sha]
    for one in (run, again):
        assert await served.interlock.result_in_store(one, f"results/{sha}") == LONG
    cli = dataclasses.replace(cli, environment={**cli.environment, "INTERLOCK_STORE": str(store_directory())})
    shown = await cli("transcript", run, "--result", sha)
    assert (shown.code, shown.out) == (OK, f"{LONG}\n")
    for wrong in ("../../etc/passwd", "0" * 64):
        missing = await cli("transcript", run, "--result", wrong)
        assert missing.code != OK
        assert "result" in missing.complaint


async def test_a_store_that_cannot_be_written_does_not_fail_the_call(
    serve: Serve, temporal: Client, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a directory")
    config = temporal.config()
    config["data_converter"] = data_converter(tmp_path / "file")
    async with serve(agent(), client=Client(**config)) as served:
        _, content = await told(served)
    assert content.endswith("bytes in all, the first 65536 are above; ask for less at a time]")


async def test_what_is_more_than_the_store_takes_is_kept_in_part(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_results, "MOST_KEPT", 1_000_000)
    async with serve(agent()) as served:
        run, content = await told(served)
        found = re.search(r"; the first 1000000 are in the store: results/([0-9a-f]{64});", content)
        assert found
        whole = await served.interlock.result_in_store(run, found[1])
    assert whole == LONG.encode()[:1_000_000].decode(errors="replace")


class Locked(PayloadCodec):
    """Encrypts every payload."""

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(key)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(metadata={"encoding": b"locked"}, data=self._fernet.encrypt(each.SerializeToString()))
            for each in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload.FromString(self._fernet.decrypt(each.data)) for each in payloads]


async def test_where_payloads_are_encrypted_so_is_what_is_kept(serve: Serve, temporal: Client, tmp_path: Path) -> None:
    def client(key: bytes) -> Client:
        config = temporal.config()
        config["data_converter"] = dataclasses.replace(data_converter(tmp_path), payload_codec=Locked(key))
        return Client(**config)

    key = Fernet.generate_key()
    async with serve(agent(), client=client(key)) as served:
        run, content = await told(served)
    sha = digest(content)
    data = (tmp_path / "results" / sha).read_bytes()
    assert hashlib.sha256(data).hexdigest() == sha
    assert b"and more" not in data
    assert await served.interlock.result_in_store(run, sha) == LONG
    wrong = type(served.interlock)(client(Fernet.generate_key()))
    with pytest.raises(BadRequest, match="cannot be decoded"):
        await wrong.result_in_store(run, sha)
    assert [each.name for each in (tmp_path / "results").iterdir()] == [sha]


async def test_an_encrypted_result_has_one_name_in_its_run_and_none_that_tells_what_it_is(tmp_path: Path) -> None:
    converter = data_converter(tmp_path, Keys.parse(new_key()))
    names = [await results.keep(converter, "n", run, data) for run, data in (("a", b"one"), ("a", b"one"))]
    others = [await results.keep(converter, "n", run, data) for run, data in (("a", b"two"), ("b", b"one"))]
    assert names[0] == names[1]
    assert len({*names, *others}) == 3
    files = {f"results/{each.name}" for each in (tmp_path / "results").iterdir()}
    assert files == {*names, *others}
    assert f"results/{hashlib.sha256(b'one').hexdigest()}" not in files
    assert await results.read(converter, "n", "a", names[0]) == "one"
    with pytest.raises(BadRequest, match="cannot be decoded: it was moved"):
        await results.read(converter, "n", "b", names[0])
