"""Whole runs against servers that speak as the providers do, and that keep the books."""

from __future__ import annotations

from decimal import Decimal

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from interlock import Agent, AgentResult, Models, Price, Retry, tool
from interlock.policies.degradation import NOTICE
from tests.billing import Reply, Request, Wire
from tests.billing.behaviours import always, script, sequence
from tests.billing.environment import MODELS, billing, every_wire
from tests.billing.server import BillingServer
from tests.conftest import Serve, activities

PATIENT = Retry(attempts=3, initial=0.05, maximum=0.2)
FREE = Price(input=Decimal(0), output=Decimal(0))
CHAT, RESPONSES, ANTHROPIC = (MODELS[wire] for wire in ("chat", "responses", "anthropic"))

CUT = ("look", '{"at": "cu')
NOTHING = ("unavailable", "notice", NOTICE)


@tool(effect="read")
def look(at: str) -> str:
    """Look somewhere."""
    return f"saw {at}"


def agent(models: Models | str, name: str = "a", **options: object) -> Agent:
    given: dict[str, object] = {"tools": [look], "retry": PATIENT, "max_output_tokens": 500, **options}
    return Agent(name=name, instructions="be brief", models=models, **given)  # type: ignore[arg-type]


def agree(result: AgentResult, server: BillingServer) -> None:
    """Interlock's books and the server's say the same of each model."""
    for model in {entry.model for entry in server.bill.entries} | {name.partition(":")[2] for name in result.by_model}:
        billed = [entry for entry in server.bill.entries if entry.model == model and entry.billed]
        ours = [usage for name, usage in result.by_model.items() if name.partition(":")[2] == model]
        assert sum(usage.input_tokens for usage in ours) == sum(entry.input_tokens for entry in billed)
        assert sum(usage.output_tokens for usage in ours) == sum(entry.output_tokens for entry in billed)
        assert sum(usage.cached_tokens for usage in ours) == sum(entry.cached_tokens for entry in billed)
    assert result.usage.tokens == server.bill.tokens
    assert result.usage.usd == sum(usage.usd for usage in result.by_model.values())


@every_wire
async def test_a_run_talks_with_a_provider_and_its_books_agree(wire: Wire, serve: Serve) -> None:
    talk = [
        Reply(thinking=("ponder", "signed"), text="looking", tool_calls=[("look", {"at": "a"}), ("look", {"at": "b"})]),
        Reply(text="seen", input_tokens=5000, output_tokens=40, cached_tokens=3000),
    ]
    priced = {MODELS[wire]: Price(input=Decimal(2), output=Decimal(8), cached_input=Decimal("0.5"))}
    prices = {MODELS[wire].partition(":")[2]: (Decimal(2), Decimal(8), Decimal("0.5"))}
    async with billing(script(talk), prices=prices) as server, serve(agent(MODELS[wire], prices=priced)) as served:
        result = await served.run("a")
    assert (result.outcome, result.output, result.steps, result.tool_calls) == ("completed", "seen", 2, 2)
    agree(result, server)
    assert result.usage.usd == server.bill.usd > 0
    assert (result.usage.attempts, server.bill.requests) == (2, 2)
    assert [request.system for request in server.requests] == ["be brief", "be brief"]
    assert [(request.tools, request.max_tokens) for request in server.requests] == [(["look"], 500)] * 2
    assert [text for message in server.requests[1].messages for _, text in message.tool_results] == ["saw a", "saw b"]


@pytest.mark.parametrize("warm", [64 * 1024 * 1024, 0], ids=["kept", "rebuilt"])
async def test_signed_thoughts_come_back_whether_the_conversation_was_kept_or_rebuilt(warm: int, serve: Serve) -> None:
    talk = [Reply(thinking=(f"thought {n}", f"signed-{n}"), tool_calls=[("look", {"at": str(n)})]) for n in range(3)]
    behaviour, options = script([*talk, Reply(text="done")]), {"transcript_bytes": warm}
    async with billing(behaviour) as server, serve(agent(ANTHROPIC), **options) as served:
        assert (await served.run("a")).outcome == "completed"
    thoughts = [thought for message in server.requests[-1].messages for thought in message.thinking]
    assert thoughts == [(f"thought {n}", f"signed-{n}") for n in range(3)]


@pytest.mark.parametrize(("first", "second"), [(ANTHROPIC, CHAT), (RESPONSES, ANTHROPIC), (CHAT, RESPONSES)])
async def test_another_provider_takes_over_in_the_middle(first: str, second: str, serve: Serve) -> None:
    def behaviour(request: Request, n: int) -> Reply:
        if request.turns == 0:
            return Reply(thinking=("ponder", "signed"), text="I look.", tool_calls=[("look", {"at": "a"})])
        return Reply(status=500) if MODELS[request.wire] == first else Reply(text="seen")

    models = Models(simple=first, medium=first, complex=first, fallback=(second,))
    async with billing(behaviour) as server, serve(agent(models)) as served:
        result = await served.run("a")
    assert (result.outcome, result.output) == ("completed", "seen")
    agree(result, server)
    assert [MODELS[request.wire] for request in server.requests] == [first] * (1 + PATIENT.attempts) + [second]
    last = server.requests[-1]
    assert b"signed" not in last.raw
    assert b"ponder" not in last.raw
    calls = [call_id for message in last.messages for call_id, _, _ in message.tool_calls]
    assert calls == [call_id for message in last.messages for call_id, _ in message.tool_results] == ["s1c1"]


async def test_a_run_whose_key_is_missing_says_which_and_asks_nobody(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with billing(always(Reply(text="hello"))) as server, serve(agent(ANTHROPIC)) as served:
        monkeypatch.delenv("ANTHROPIC_API_KEY")
        result = await served.run("a")
    assert (result.outcome, server.bill.requests) == ("unavailable", 0)
    assert "ModelRejected" in (result.reason or "")
    assert "ANTHROPIC_API_KEY" in (result.reason or "")


async def test_a_model_without_a_price_is_refused_before_it_is_asked(serve: Serve) -> None:
    unpriced = "openai-chat:my-own-model"
    agents = [
        agent(unpriced, "unpriced"),
        agent(Models(simple=CHAT, medium=CHAT, complex=CHAT, fallback=(unpriced,)), "spare"),
        agent(unpriced, "priced", prices={unpriced: Price(input=Decimal(3), output=Decimal(15))}),
        agent(unpriced, "free", prices={unpriced: FREE}),
    ]
    behaviour = always(Reply(text="hi", input_tokens=1000, output_tokens=100))
    async with billing(behaviour) as server, serve(*agents) as served:
        for name in ("unpriced", "spare"):
            run = await served.start(name)
            with pytest.raises(WorkflowFailureError) as caught:
                await run.handle.result()
            cause = caught.value.cause
            assert isinstance(cause, ApplicationError)
            assert cause.type == "UnpricedModel"
            assert f'prices={{"{unpriced}": Price(' in cause.message
            assert await activities(served.client, run.id) == ["resolve_agent"]
        assert server.bill.requests == 0
        assert (await served.run("priced")).usage.usd == Decimal("0.0045")
        assert (await served.run("free")).usage.usd == 0


@pytest.mark.parametrize(
    ("replies", "ends", "reason"),
    [
        (
            [Reply(text="half of", finish="length")],
            ("degraded", "model", "half of"),
            "answer was cut off by its length",
        ),
        ([Reply(text="")] * 2, NOTHING, "no usable reply twice: the reply had no text"),
        ([Reply(text=" \n ")] * 2, NOTHING, "no usable reply twice: the reply had no text"),
        ([Reply(text=""), Reply(text="now")], ("completed", "model", "now"), None),
        ([Reply(tool_calls=[CUT], finish="length")] * 2, NOTHING, "cut off by its length in the middle of a tool call"),
        ([Reply(tool_calls=[CUT], finish="length"), Reply(text="ok")], ("completed", "model", "ok"), None),
        ([Reply(finish="content_filter")] * 2, NOTHING, "content filter withheld the reply"),
    ],
    ids=["cut", "empty twice", "blank twice", "empty once", "cut call twice", "cut call once", "filtered"],
)
async def test_a_reply_that_cannot_be_used_is_asked_for_once_more(
    replies: list[Reply], ends: tuple[str, str, str], reason: str | None, serve: Serve
) -> None:
    async with billing(sequence(replies)) as server, serve(agent(CHAT)) as served:
        run = await served.start("a")
        result = await served.end(run)
        assert "tool.look" not in await activities(served.client, run.id)
    assert (result.outcome, result.source, result.output) == ends
    assert server.bill.requests == len(replies)
    assert (result.reason is None) == (reason is None)
    assert (reason or "") in (result.reason or "")
    agree(result, server)
