"""A secret that tools return, raise and log is in nothing that leaves the worker."""

from __future__ import annotations

import base64
import copy
import json
import os
import pickle
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from temporalio.client import Client

from interlock import AgentTask, Interlock, Secret, ToolError, secrets
from interlock.contracts import ToolMessage
from interlock.secrets import SHORTEST, redacted
from interlock.testing import replay
from tests.runs import processes
from tests.runs.secretive import TOOLS
from workflows.agent_run import AgentRun

VALUE = 'tok/en+"of\\tests\u00e9 0123456789'
LABEL = "[secret SECRETIVE_TOKEN]"


@pytest.fixture(autouse=True, scope="module")
def forgotten() -> Iterator[None]:
    """A process knows for as long as it lives what was revealed in it: hundreds of values here, which each test after
    these would look for in all that it logs and returns."""
    with pytest.MonkeyPatch.context() as process:
        process.setattr(secrets, "_revealed", dict(secrets._revealed))
        process.setattr(secrets, "_in_order", secrets._in_order)
        yield


def forms(value: str) -> Iterator[str]:
    once = json.dumps(value)[1:-1]
    yield from (value, once, json.dumps(once)[1:-1], json.dumps(json.dumps(once)[1:-1])[1:-1])
    yield from (quote(value), quote(value, safe=""), quote_plus(value))
    yield value.encode().hex()
    for before in ("", "u", "user:"):  # without the digits that are shared with what is around
        yield base64.b64encode((before + value).encode()).decode()[4 + len(before) : -4]


async def test_a_secret_is_in_no_history_log_message_or_file(temporal: Client, tmp_path: Path) -> None:
    address, log, store = temporal.service_client.config.target_host, tmp_path / "worker.log", tmp_path / "store"
    queue = f"secrets-{tmp_path.name}"
    run = await Interlock(temporal, queue).start(AgentTask(agent="secretive", input="tell"))
    environment = {
        "SECRETIVE_TOKEN": VALUE,
        "INTERLOCK_STORE": str(store),
        "INTERLOCK_JOURNAL": str(tmp_path / "journal"),
    }
    async with processes.worker(address, "tests.runs.secretive", queue, log, **environment) as process:
        assert (await run.result()).output == "done"
        await replay(temporal, run.handle, AgentRun)
        assert await processes.end(process, signal.SIGTERM) == 0
    history = b"".join(event.SerializeToString() for event in (await run.handle.fetch_history()).events)
    messages = (await Interlock(temporal).transcript(run.id)).messages
    [kept] = (store / "results").iterdir()
    everywhere = {
        "history": history.decode(errors="replace"),
        "log": log.read_text(),
        "transcript": repr(messages),
        "store": kept.read_text(),
        **{path.name: path.read_bytes().decode(errors="replace") for path in tmp_path.glob("journal*")},
    }
    for place, text in everywhere.items():
        for form in forms(VALUE):
            assert form not in text, (place, form)
    told = {message.tool: message.content for message in messages if isinstance(message, ToolMessage)}
    assert told["tells"] == f"the token is {LABEL}"
    assert told["tells_without_asking"] == LABEL
    assert told["raises"] == f"ToolFailed: raises failed: ConnectionError: refused: Authorization: Bearer {LABEL}"
    assert told["raises_late"].startswith(f"ToolFailed: raises_late failed: RuntimeError: {'x' * 490}[secret SE")
    assert told["complains"] == f"{LABEL} is refused"
    assert told["logs"] == f"{LABEL} Secret('SECRETIVE_TOKEN')"
    assert told["misses"].startswith("the secret SECRETIVE_MISSING is not in the environment of the worker (process ")
    assert told["tells_forms"].count(LABEL) == 6
    assert kept.read_text() == f"{LABEL} " * 1000
    assert everywhere["log"].count(LABEL) >= 6
    assert len(told) == len(TOOLS) + 1


def test_a_secret_shows_its_name_and_never_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "hidden-0123456789")
    secret = Secret("A_TOKEN")
    shown = [repr(secret), str(secret), f"{secret:>30}", f"{secret!r}", f"{secret}", repr([secret])]
    assert "hidden" not in "".join(shown)
    assert repr(secret) == "Secret('A_TOKEN')"
    assert secret.reveal() == "hidden-0123456789"
    assert "hidden" not in repr(secret)
    for leaves in (pickle.dumps, json.dumps):
        with pytest.raises(TypeError):
            leaves(secret)
    assert copy.copy(secret) is copy.deepcopy(secret) is secret
    assert {secret: 1}[Secret("A_TOKEN")] == 1
    assert secret != "A_TOKEN"
    with pytest.raises(AttributeError):
        secret.name = "OTHER"
    with pytest.raises(AttributeError):
        secret.value = "x"


def test_a_secret_is_read_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = Secret("LATE_TOKEN")
    with pytest.raises(ToolError, match=rf"LATE_TOKEN is not in the environment of the worker \(process {os.getpid()}"):
        secret.reveal()
    monkeypatch.setenv("LATE_TOKEN", "x" * (SHORTEST - 1))
    with pytest.raises(ToolError, match="has fewer than"):
        secret.reveal()
    for value in ("first-0123456789", "second-0123456789"):  # both are known from now on
        monkeypatch.setenv("LATE_TOKEN", value)
        assert secret.reveal() == value
    assert redacted("first-0123456789 second-0123456789") == "[secret LATE_TOKEN] [secret LATE_TOKEN]"


@pytest.mark.parametrize("name", ["", "ghp_0123 4567", "a=b", "1A", "tok-en", "é"])
def test_what_is_no_name_of_a_variable_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(ValueError, match="the name of an environment variable") as refused:
        Secret(name)
    assert not name or name not in str(refused.value)


class Model(BaseModel, arbitrary_types_allowed=True):
    token: Secret


def test_a_model_that_holds_a_secret_does_not_serialize_it() -> None:
    with pytest.raises(ValueError, match="serialize"):
        Model(token=Secret("A_TOKEN")).model_dump_json()


def test_a_key_of_several_lines_is_recognized_by_each_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nAQEFAASCBKcwggSjAgEAAo\n-----END KEY-----"
    monkeypatch.setenv("A_KEY", key)
    Secret("A_KEY").reveal()
    assert redacted("bad line: AQEFAASCBKcwggSjAgEAAo") == "bad line: [secret A_KEY]"
    assert redacted(repr(ValueError(key))) == "ValueError('[secret A_KEY]')"


@given(
    value=st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=SHORTEST, max_size=40), data=st.data()
)
def test_no_form_of_any_value_is_left(value: str, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ANY_TOKEN", value)
        Secret("ANY_TOKEN").reveal()
    before = data.draw(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=5))
    texts = [
        f"{before}{value}",
        json.dumps({"a": before + value}),
        quote(before + value),
        base64.b64encode((before + value).encode()).decode(),
        base64.urlsafe_b64encode((before + value + before).encode()).decode(),
    ]
    for text in texts:
        assert value not in redacted(text)
        assert "[secret " in redacted(text)
