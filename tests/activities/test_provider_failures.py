"""What each provider may answer in place of an answer: the kind of failure, its fate, its advice; one request each."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from activities.providers import Request
from activities.providers.pydantic_ai import PydanticAI
from interlock.contracts import UserMessage
from interlock.errors import Failure, Fate, Kind
from tests.billing import Reply, Wire
from tests.billing.behaviours import always
from tests.billing.environment import KEY, MODELS, billing, every_wire

HTML = {"content-type": "text/html"}
QUOTA = {
    "code": "insufficient_quota",
    "message": "You exceeded your current quota, check your plan and billing details",
}
LIMIT = "Rate limit reached. Add a payment method at https://platform.openai.com/account/billing to have more"


@pytest.fixture
async def provider() -> AsyncIterator[PydanticAI]:
    made = PydanticAI()
    yield made
    await made.close()


async def fail(provider: PydanticAI, model: str, timeout: float = 5.0) -> Failure:
    with pytest.raises(Failure) as caught:
        await provider.ask(
            Request(model, "", [UserMessage(text="hello")], (), max_tokens=50, most_input=1000, timeout=timeout)
        )
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{model}: ")
    return caught.value


@pytest.mark.parametrize(
    ("reply", "kind", "fate"),
    [
        (Reply(status=429), "ModelRateLimited", "unbilled"),
        (Reply(status=429, error=LIMIT), "ModelRateLimited", "unbilled"),
        (Reply(status=429, error=QUOTA), "ModelRejected", "unbilled"),
        (Reply(status=429, error="This would exceed your organization's spend limit"), "ModelRejected", "unbilled"),
        (Reply(status=529), "ModelOverloaded", "unbilled"),
        (Reply(status=503, error="the model is overloaded"), "ModelOverloaded", "unbilled"),
        (Reply(status=500), "ModelUnavailable", "unbilled"),
        (Reply(status=502, body="<html>bad gateway</html>", headers=HTML), "ModelUnavailable", "unbilled"),
        (Reply(status=503), "ModelUnavailable", "unbilled"),
        (Reply(status=504), "ModelTimeout", "unknown"),
        (Reply(status=408), "ModelTimeout", "unknown"),
        (Reply(drop="before"), "ModelUnavailable", "unknown"),
        (Reply(text="paid", drop="after_billing"), "ModelUnavailable", "unknown"),
        (Reply(text="paid", truncate=True), "ModelUnavailable", "unknown"),
        (Reply(hang=True), "ModelTimeout", "unknown"),
        (Reply(body='{"id": "x", "choi'), "ModelReplyInvalid", "unknown"),
        (Reply(body="<html>welcome</html>", headers=HTML), "ModelReplyInvalid", "unknown"),
        (Reply(body=""), "ModelReplyInvalid", "unknown"),
        (Reply(body="null"), "ModelReplyInvalid", "unknown"),
        (Reply(body="[]"), "ModelReplyInvalid", "unknown"),
        (Reply(body='{"choices": [], "output": 1, "content": 2}'), "ModelReplyInvalid", "unknown"),
        (Reply(body='{"error": {"message": "upstream died", "code": 502}}'), "ModelReplyInvalid", "unknown"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
@every_wire
async def test_what_goes_wrong_has_a_kind_and_a_fate_and_is_asked_once(
    wire: Wire, reply: Reply, kind: Kind, fate: Fate, provider: PydanticAI
) -> None:
    async with billing(always(reply)) as server:
        failure = await fail(provider, MODELS[wire], timeout=2.0 if reply.hang else 20.0)
        assert (failure.kind, failure.fate) == (kind, fate)
    assert (server.bill.requests, server.bill.billed) == (1, int(reply.is_billed))
    # The law: what was billed is never called unbilled.
    assert fate == "unknown" or not server.bill.billed


@pytest.mark.parametrize(("status", "outage"), [(409, False), (425, False), (429, False), (500, True), (408, True)])
@every_wire
async def test_what_opens_a_breaker(wire: Wire, status: int, outage: bool, provider: PydanticAI) -> None:
    """Not what is refused of this one request."""
    async with billing(always(Reply(status=status))):
        assert (await fail(provider, MODELS[wire])).outage is outage


@pytest.mark.parametrize(
    ("reply", "advice"),
    [
        (Reply(status=400, error="bad tools"), "bad tools. Check the agent's models, tools and max_output_tokens"),
        (Reply(status=422), "Check the agent's models, tools and max_output_tokens"),
        (
            Reply(status=401, error=f"wrong key {KEY}"),
            "wrong key ***. Check {name}_API_KEY in the worker's environment",
        ),
        (Reply(status=402), "The account behind {name}_API_KEY has no credit or quota left"),
        (Reply(status=403), "Check {name}_API_KEY in the worker's environment"),
        (Reply(status=404), "Check the agent's models: {provider} knows no {model!r} (check {name}_BASE_URL too"),
        (Reply(status=429, error=QUOTA), "The account behind {name}_API_KEY has no credit or quota left"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Reply) else None,
)
@every_wire
async def test_a_refusal_names_what_to_mend(wire: Wire, reply: Reply, advice: str, provider: PydanticAI) -> None:
    async with billing(always(reply)) as server:
        failure = await fail(provider, MODELS[wire])
    name = "ANTHROPIC" if wire == "anthropic" else "OPENAI"
    given, _, model = MODELS[wire].partition(":")
    assert (failure.kind, failure.fate, server.bill.requests) == ("ModelRejected", "unbilled", 1)
    assert advice.format(name=name, provider=given, model=model) in str(failure)
    assert KEY not in str(failure)


def in_http(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"retry-after": "7"}, 7, 7),
        ({"retry-after": "1.5"}, 1.5, 1.5),
        ({"retry-after-ms": "250"}, 0.25, 0.25),
        ({"retry-after": "0"}, 0, 0),
        ({"retry-after": "86400"}, 86400, 86400),
        ({"retry-after": "a date"}, 5, 10),
        ({"retry-after": "an old date"}, 0, 0),
        ({"retry-after": "-5"}, None, None),
        ({"retry-after": "nan"}, None, None),
        ({"retry-after": "soon"}, None, None),
        ({}, None, None),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
@pytest.mark.parametrize("status", [429, 503])
async def test_what_the_provider_asks_to_wait_is_read(
    status: int, headers: dict[str, str], low: float | None, high: float | None, provider: PydanticAI
) -> None:
    dates = {"a date": in_http(10), "an old date": in_http(-60)}
    given = {name: dates.get(value, value) for name, value in headers.items()}
    async with billing(always(Reply(status=status, headers=given))):
        for model in MODELS.values():
            asked = (await fail(provider, model)).retry_after
            if low is None or high is None:
                assert asked is None
            else:
                assert asked is not None
                assert low <= asked <= high


@every_wire
@pytest.mark.parametrize("status", [200, 400, 500])
async def test_a_page_of_megabytes_makes_a_short_failure(wire: Wire, status: int, provider: PydanticAI) -> None:
    async with billing(always(Reply(status=status, body="<p>no</p>" * 600_000, headers=HTML))):
        failure = await fail(provider, MODELS[wire])
    assert len(str(failure)) < 1000
    assert failure.__cause__ is None  # a chain of errors is reported with every message in it


@every_wire
async def test_nothing_answers_there(wire: Wire, provider: PydanticAI, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound, and nobody listens
        for name in ("OPENAI", "ANTHROPIC"):
            monkeypatch.setenv(f"{name}_BASE_URL", f"http://127.0.0.1:{bound.getsockname()[1]}/v1")
            monkeypatch.setenv(f"{name}_API_KEY", KEY)
        failure = await fail(provider, MODELS[wire])
    assert (failure.kind, failure.fate) == ("ModelUnavailable", "unbilled")
    assert "BASE_URL" in str(failure)


@every_wire
async def test_without_a_key_nothing_is_sent(wire: Wire, provider: PydanticAI, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ANTHROPIC" if wire == "anthropic" else "OPENAI"
    async with billing(always(Reply(text="hello"))) as server:
        with suppress(KeyError):
            monkeypatch.delenv(f"{name}_API_KEY")
        monkeypatch.delenv("OPENAI_BASE_URL")  # where it is set, a server of one's own may need no key
        failure = await fail(provider, MODELS[wire])
    assert (failure.kind, failure.fate, server.bill.requests) == ("ModelRejected", "unbilled", 0)
    assert f"Check {name}_API_KEY in the worker's environment" in str(failure)


async def test_a_server_of_ones_own_needs_no_key(provider: PydanticAI, monkeypatch: pytest.MonkeyPatch) -> None:
    async with billing(always(Reply(text="hello"))):
        monkeypatch.delenv("OPENAI_API_KEY")
        answer = await provider.ask(Request("openai-chat:llama", "", [UserMessage(text="hi")], (), 50, 1000, 5.0))
    assert answer.message.text == "hello"


@pytest.mark.parametrize("model", ["nobody:gpt-5", "gpt:5", "openai-chatt:gpt-5"])
def test_an_unknown_provider_is_refused_before_anything_runs(model: str) -> None:
    with pytest.raises(ValueError, match=f"model '{model}'.*Known are openai:"):
        PydanticAI().check(model)


async def test_a_key_that_was_missing_is_looked_for_again(
    provider: PydanticAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with billing(always(Reply(text="hello"))):
        monkeypatch.delenv("ANTHROPIC_API_KEY")
        assert (await fail(provider, MODELS["anthropic"])).kind == "ModelRejected"
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        request = Request(MODELS["anthropic"], "", [UserMessage(text="hi")], (), 50, 1000, 5.0)
        assert (await provider.ask(request)).message.text == "hello"
