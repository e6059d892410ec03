"""Tools of a real MCP server in real runs: calls, results, effects, and which tools there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from activities.agents import BadReference
from activities.mcp import with_mcp_tools
from interlock import Agent, tool
from interlock.agent_tools import AgentTool
from interlock.contracts import AgentSpec, Message, ToolMessage
from interlock.embedded import free_port
from interlock.mcp_server import McpServer
from interlock.testing import Say, ScriptedModel, call, calls, say
from tests.conftest import Serve
from tests.mcp.conftest import Real, StartHttp, hostile
from tests.runs.test_tools import play


def agent(*tools: Any, name: str = "a") -> Agent:
    return Agent(name=name, instructions="", models=ScriptedModel("never", [say("x")]).model, tools=tools)


async def spec(*tools: AgentTool | McpServer) -> AgentSpec:
    """What a run of an agent with these tools would record."""
    async with with_mcp_tools([agent(*tools)]) as [expanded]:
        return expanded.spec()


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_calls_go_to_one_process_and_answer(
    transport: str, tester: Real, start_http: StartHttp, serve: Serve
) -> None:
    server = tester.declared()
    if transport == "http":
        port = free_port()
        await start_http(port)
        server = McpServer(name="t", url=f"http://127.0.0.1:{port}/mcp")
    turns = [
        calls(call("t_add", a=1, b=2), call("t_pid"), call("t_pid")),
        calls(call("t_pid"), call("t_fail", why="no luck")),
        call("t_add", a="one"),
        call("t_ask"),
    ]
    told = await play(serve, turns, [server])
    texts = [message.content for message in told.messages]
    assert texts[0] == "3"
    assert texts[1] == texts[2] == texts[3]
    assert len(tester.noted("start")) == 1
    assert (told.messages[4].is_error, texts[4]) == (True, "Error executing tool fail: no luck")
    assert texts[5].startswith("ToolArgumentsInvalid: the arguments of t_add do not fit its schema")
    assert told.messages[6].is_error, "nobody is asked on the server's behalf"
    assert tester.noted("add") == ["add 1 2"]
    assert told.activities.count("tool.t_add") == 1
    assert told.result.by_tool == {"t_add": 1, "t_pid": 3, "t_fail": 1, "t_ask": 1}


async def test_what_is_no_text_is_described_and_what_is_long_is_cut(tester: Real, serve: Serve) -> None:
    turn = calls(call("t_everything"), call("t_long", size=10_000_000))
    told = await play(serve, [turn], [tester.declared(max_result_bytes=1000)])
    assert told.messages[0].content.splitlines() == [
        "first",
        "[image, not shown: image/png, 4 bytes]",
        "[resource file:///b, not shown: application/zip, 3 bytes]",
        "[link to resource https://example.com/x, not fetched: text/plain, 7 bytes]",
        "last",
    ]
    assert told.messages[1].content.startswith("x" * 1000 + "\n[cut: 10000000 bytes in all")


async def test_an_agent_reaches_the_tools_it_allows_and_no_other(tester: Real, serve: Serve) -> None:
    turn = calls(call("t_add", a=1, b=1), call("t_pid"), call("add", a=1, b=1))
    told = await play(serve, [turn], [tester.light(allow=["pid"])])
    assert [error.partition(":")[0] for error in told.errors] == ["UnknownTool", "UnknownTool"]
    assert told.errors[0].endswith("Tools you may call: t_pid.")
    assert tester.noted("add") == []


async def test_two_agents_share_a_process_and_each_has_its_own_list(tester: Real, serve: Serve) -> None:
    def turn(messages: Sequence[Message], tools: Sequence[str]) -> Say:
        last = messages[-1]
        return say(last.content) if isinstance(last, ToolMessage) else call("t_pid")

    pid = ScriptedModel("pid", turn)
    one = Agent(name="one", instructions="", models=pid.model, tools=[tester.light(allow=["pid"])])
    two = Agent(name="two", instructions="", models=pid.model, tools=[tester.light(effects={"pid": "read"})])
    async with serve(one, two) as served:
        first, second = await served.run("one"), await served.run("two")
    assert first.output.isdigit()
    assert first.output == second.output
    assert len(tester.noted("start")) == 1


async def test_an_effect_is_what_the_author_says_whatever_the_server_hints(tester: Real) -> None:
    tools = {tool.name: tool for tool in (await spec(tester.declared(effects={"add": "read"}))).tools}
    assert tools["t_add"].effect == "read"
    assert tools["t_pid"].effect == "write", "its server says that it only reads, and may be wrong"
    assert tools["t_add"].description == "Add two numbers."
    assert tools["t_add"].parameters["required"] == ["a", "b"]


async def test_what_the_breakers_know_a_tool_by(tester: Real) -> None:
    @tool
    def plain() -> None:
        """Plain."""

    async with with_mcp_tools([agent(plain, tester.light(allow=["add"]))]) as [expanded]:
        named = [each.dependency for each in expanded.tools if isinstance(each, AgentTool)]
    assert named == ["tool:plain", "tool:t/add"]


@pytest.mark.parametrize("option", [{"allow": ["add", "ad"]}, {"effects": {"ad": "read"}}])
async def test_a_name_that_the_server_does_not_have_is_an_error_when_the_worker_starts(
    option: dict[str, Any], tester: Real, serve: Serve
) -> None:
    with pytest.raises(BadReference, match=r"MCP server t: \w+ names 'ad'; its tools: add, hang, leave, ") as error:
        async with serve(agent(tester.light(**option))):
            pass
    assert "\n" not in str(error.value)


async def test_names_that_collide_are_refused(serve: Serve) -> None:
    @tool(name="h_act")
    def other() -> None:
        """Another."""

    plain = hostile("plain")
    for agents, said in [
        ([agent(other, plain)], "agent a: two tools named h_act; rename one, or give the MCP server"),
        ([agent(other), agent(plain, name="b")], "two tools are named 'h_act'"),
        ([agent(plain), agent(hostile("plain", start_timeout=9), name="b")], "two MCP servers are named 'h'"),
    ]:
        with pytest.raises(BadReference, match=said):
            async with serve(*agents):
                pass
    with pytest.raises(ValueError, match="agent a: two MCP servers named h"):
        agent(plain, hostile("plain", allow=["act"]))


def test_an_agent_whose_servers_were_not_asked_cannot_be_recorded(tester: Real) -> None:
    with pytest.raises(ValueError, match="MCP server t has not been asked for its tools"):
        agent(tester.light()).spec()
