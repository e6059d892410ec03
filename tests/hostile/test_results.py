"""What tools return and raise is text for the model and nothing else: not for the run, its worker or a provider."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from temporalio.client import Client

from interlock import Agent, Limits, Price, tool
from interlock.contracts import AssistantMessage, ToolMessage, UserMessage
from tests.billing import Reply as Billed
from tests.billing import Wire
from tests.billing.behaviours import script
from tests.billing.environment import MODELS, billing, every_wire
from tests.conftest import Serve
from tests.hostile.corpus import RAISED, REPLIES, RESULTS, Raised, Result
from tests.hostile.play import QUICK, Played, of, play

FREE = Price(input="0", output="0")
SMALL = [case for case in RESULTS if not case.id.startswith("ten megabytes")]
assert RESULTS[: len(SMALL)] == SMALL


@tool(effect="read", max_result_bytes=1000)
def tell(case: int) -> object:
    """Tell what the corpus says."""
    return RESULTS[case].value


@tool(effect="write")
async def fail(case: int) -> None:
    """Raise what the corpus says."""
    raise RAISED[case].error()


@tool(effect="write")
def fail_in_a_thread(case: int) -> None:
    """Raise what the corpus says."""
    raise RAISED[case].error()


def each(name: str, cases: Sequence[object]) -> list[tuple[str, str]]:
    return [(name, json.dumps({"case": number})) for number in range(len(cases))]


@pytest.fixture(scope="module")
async def told(temporal: Client) -> Played:
    """One run: the model asks for every result of the corpus, and then does what each of them said."""
    return await play(temporal, [tell], [of(each("tell", RESULTS)), of([(case.grants, "{}") for case in RESULTS])])


@pytest.mark.parametrize("case", RESULTS, ids=lambda case: case.id)
async def test_a_result_is_text_of_its_own_call_and_grants_nothing(case: Result, told: Played) -> None:
    number = RESULTS.index(case)
    message, obeyed = told.told[number], told.told[len(RESULTS) + number]
    assert (message.call_id, message.tool, message.is_error) == (f"s1c{number + 1}", "tell", case.is_error)
    assert message.content.startswith(case.shown)
    assert message.content == case.shown or case.is_error or "\n[cut: 10" in message.content
    assert len(message.content) < 1300
    assert obeyed.is_error
    assert obeyed.content == f"UnknownTool: there is no tool named {case.grants!r}. Tools you may call: tell."


async def test_the_conversation_has_no_message_that_nobody_sent(told: Played) -> None:
    kinds = [type(message) for message in told.messages if not isinstance(message, ToolMessage)]
    assert kinds == [UserMessage, AssistantMessage, AssistantMessage, AssistantMessage]
    assert len(told.told) == 2 * len(RESULTS)
    assert set(told.activities) == {"resolve_agent", "model", "tool.tell"}
    assert (told.result.outcome, told.result.by_tool) == ("completed", {"tell": len(RESULTS)})


@pytest.fixture(scope="module")
async def failed(temporal: Client) -> Played:
    calls = [*each("fail", RAISED), *each("fail_in_a_thread", RAISED)]
    return await play(temporal, [fail, fail_in_a_thread], [of(calls)])


@pytest.mark.parametrize("where", ["fail", "fail_in_a_thread"])
@pytest.mark.parametrize("case", RAISED, ids=lambda case: case.id)
async def test_what_a_tool_raises_is_told_to_the_model_and_obeyed_by_nobody(
    case: Raised, where: str, failed: Played
) -> None:
    [message] = [
        each
        for each in failed.told
        if each.tool == where and each.call_id == f"s1c{RAISED.index(case) + 1 + (where != 'fail') * len(RAISED)}"
    ]
    assert message.is_error
    assert message.content.startswith(f"ToolFailed: {where} failed: ")
    assert case.said in message.content
    assert "\n" not in message.content
    assert len(message.content) < 700


async def test_a_run_outlives_all_that_its_tools_raise(failed: Played) -> None:
    assert (failed.result.outcome, failed.result.output, failed.result.tool_calls) == (
        "completed",
        "done",
        2 * len(RAISED),
    )
    assert list(failed.activities).count("tool.fail") == len(RAISED)


@every_wire
async def test_a_provider_is_sent_each_result_as_one_result(wire: Wire, serve: Serve) -> None:
    """Whatever a result looks like, on the wire it is the text of one result, of one call, in one message."""
    asked: list[tuple[str, dict[str, int]]] = [("tell", {"case": number}) for number in range(len(SMALL))]
    agent = Agent(
        name="a",
        instructions="be brief",
        models=MODELS[wire],
        prices={MODELS[wire]: FREE},
        tools=[tell],
        limits=Limits(tool_calls=500),
        retry=QUICK,
    )
    behaviour = script([Billed(tool_calls=list(asked), output_tokens=50), Billed(text="done")])
    async with billing(behaviour) as server, serve(agent) as served:
        assert (await served.run("a")).output == "done"
    last = server.requests[-1]
    assert (last.system, last.tools) == ("be brief", ["tell"])
    assert [message.role for message in last.messages] == ["user", "assistant", "tool"]
    _, said, results = last.messages
    ids = [call_id for call_id, _ in results.tool_results]
    assert ids == [call_id for call_id, _, _ in said.tool_calls]
    assert len(set(ids)) == len(SMALL)
    for case, (_, text) in zip(SMALL, results.tool_results, strict=True):
        assert case.shown in text if case.is_error else text == case.shown, case.id


@tool(effect="read")
def find(text: str, limit: int = 10) -> str:
    """Find text."""
    return f"{text!r} {limit}"


@pytest.fixture(scope="module")
def replies() -> list[Billed]:
    """Each reply of the corpus as one turn of a conversation."""
    turns = []
    for case in REPLIES:
        choice = {"index": 0, "message": case.message, "finish_reason": "tool_calls", "logprobs": None}
        usage = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
        body = {"id": "x", "object": "chat.completion", "created": 1, "model": "gpt-5", "choices": [choice]}
        turns.append(Billed(body=json.dumps({**body, "usage": usage}), headers={"content-type": "application/json"}))
    return [*turns, Billed(text="done")]


async def test_odd_replies_of_a_provider_are_calls_like_others(replies: list[Billed], serve: Serve) -> None:
    model = MODELS["chat"]
    agent = Agent(name="a", instructions="", models=model, prices={model: FREE}, tools=[find], retry=QUICK)
    async with billing(script(replies)) as server, serve(agent) as served:
        run = await served.start("a")
        result = await served.end(run)
        messages = (await served.interlock.transcript(run.id)).messages
    assert (result.outcome, result.output, result.steps) == ("completed", "done", len(REPLIES) + 1)
    told = {message.call_id: message.content for message in messages if isinstance(message, ToolMessage)}
    expected = {
        f"s{step}c{number}": (case, beginning)
        for step, case in enumerate(REPLIES, start=1)
        for number, beginning in enumerate(case.told, start=1)
    }
    assert list(told) == list(expected)
    for call_id, (case, beginning) in expected.items():
        assert told[call_id].startswith(beginning), case.id
    assert all(request.tools == ["find"] and request.system == "" for request in server.requests)
