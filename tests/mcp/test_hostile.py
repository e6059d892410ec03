"""Servers that do not start, do not answer, or do what they should not: none of it harms a worker or a run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from activities.agents import BadReference
from interlock import Secret
from interlock.mcp_server import McpServer, mcp
from interlock.testing import call
from tests.conftest import Serve
from tests.mcp.conftest import Real, hostile
from tests.mcp.test_calls import agent, spec
from tests.runs.test_tools import QUICK, play


class Hidden:
    """As ``Secret``: read when the process starts."""

    def __init__(self, value: str) -> None:
        self.value = value

    def reveal(self) -> str:
        return self.value


class Missing:
    def reveal(self) -> str:
        raise LookupError("TOKEN is not set")


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (mcp("no-such-program --flag"), r"no-such-program \(no-such-program --flag\) did not start: there is no prog"),
        (mcp("sleep 9", cwd="/no/such/place"), r"sleep \(sleep 9\) did not start: FileNotFoundError: .*/no/such/place"),
        (hostile("dies"), "ended with exit code 3 before it answered; it said: 'cannot open the file'"),
        (hostile("dies", env={"TOKEN": Hidden("s3cret")}), r"before it answered; it said: 'cannot open \*\*\*'"),
        (hostile("silent", start_timeout=1), "did not answer within 1 s$"),
        (hostile("garbage", start_timeout=4), "did not answer within 4 s; it said: .*"),
        (hostile("misshapen"), r"listed its tools in a way that the protocol does not have: tools\.1\.inputSchema"),
        (hostile("dies", env={"TOKEN": Missing()}), r"\) did not start: LookupError: TOKEN is not set$"),
        (mcp("true"), "ended with exit code 0 before it answered$"),
        (mcp("http://127.0.0.1:1/mcp?key=s3cret"), r"/mcp\) did not start: ConnectError: "),
    ],
)
async def test_a_server_that_does_not_start_is_an_error_in_a_line(server: McpServer, said: str, serve: Serve) -> None:
    with pytest.raises(BadReference, match=said) as error:
        async with serve(agent(server)):
            pass
    assert str(error.value).startswith("MCP server ")
    assert "\n" not in str(error.value)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("noise", "done"),
        ("asks", "refused refused refused"),
        ("others", "done"),
        ("refuses", "the MCP server h refused the call: not like that"),
        ("shapeless", "ToolOutcomeUnknown: the MCP server h answered with something that is no result of a tool. "),
        ("breaks", "ToolOutcomeUnknown: the MCP server h could not answer: database is away. "),
        ("tells", "the token is ***"),
        ("endless", "ToolOutcomeUnknown: the MCP server h "),
    ],
)
async def test_what_a_server_does_in_a_call_harms_nobody(
    what: str, answer: str, serve: Serve, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server = hostile(what, str(tmp_path / "notes"), env={"TOKEN": Hidden("s3cret")})
    told = await play(serve, [call("h_act")], [server])
    [message] = told.messages
    assert message.content.startswith(answer)
    assert (tmp_path / "notes").read_text() == "act\n"
    output = "".join(capfd.readouterr())
    assert "s3cret" not in output
    assert "Traceback" not in output


async def test_a_read_that_met_a_broken_server_is_tried_again(serve: Serve, tmp_path: Path) -> None:
    server = hostile("breaks", str(tmp_path / "notes"), effects={"act": "read"}, retry=QUICK)
    told = await play(serve, [call("h_act")], [server])
    assert told.errors == ["ToolFailed: the MCP server h could not answer: database is away"]
    assert (tmp_path / "notes").read_text() == "act\n" * 3


async def test_descriptions_are_bounded_and_printable() -> None:
    long, escapes = (await spec(hostile("descriptions"))).tools
    assert len(long.description.encode()) < 4200
    assert long.description.endswith("[cut: 200000 bytes in all]")
    assert escapes.description == "a[2Jbc"


async def test_a_secret_that_a_server_was_given_enters_no_history_by_what_it_offers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MCP_LEAKED_TOKEN", 'pa"ss-2291-word')
    [told] = (await spec(hostile("leaks", env={"TOKEN": Secret("MCP_LEAKED_TOKEN")}))).tools
    label = "[secret MCP_LEAKED_TOKEN]"
    assert told.name == "h_told"
    assert told.description == f"Basic dXNlcjp{label}Q=, {label}"
    assert told.parameters["properties"] == {
        f"of {label}": {"type": "string", "default": f'a "{label}"', "enum": [f"{label}\n", "x"]}
    }
    assert "2291" not in told.model_dump_json()


async def test_schemas_that_would_harm_are_left_out() -> None:
    tools = {tool.name: tool for tool in (await spec(hostile("schemas"))).tools}
    assert set(tools) == {"h_fine", "h_doubling"}
    assert tools["h_fine"].parameters["properties"] == {"pattern": {"type": "string"}}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("far", "refers to something outside of it: 'http://169.254.169.254/latest'"),
        ("long", "bytes long; 32768 are the most"),
        ("itself", "cannot be applied: RecursionError"),
        ("bad\nname", "its name is not"),
    ],
)
async def test_one_that_was_asked_for_by_name_is_an_error(name: str, said: str) -> None:
    with pytest.raises(BadReference, match=said) as error:
        await spec(hostile("schemas", allow=[name]))
    assert "\n" not in str(error.value)


async def test_a_schema_that_doubles_is_given_up_soon(serve: Serve) -> None:
    began = time.monotonic()
    told = await play(serve, [call("h_doubling", x=1)], [hostile("schemas", allow=["doubling"])])
    assert told.errors == [
        "ToolArgumentsInvalid: the schema of h_doubling cannot be applied: RecursionError. Nothing was run."
    ]
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(("what", "most"), [("many", 128), ("heavy", 8), ("pages", 128)])
async def test_there_is_an_end_to_tools(what: str, most: int) -> None:
    assert len((await spec(hostile(what))).tools) == most


async def test_names_that_become_one_are_refused() -> None:
    with pytest.raises(BadReference, match=r"its tools 'a\.b' and 'a b' would both be named h_a_b"):
        await spec(hostile("alike"))


async def test_a_process_sees_what_it_was_given_and_not_what_the_worker_has(
    tester: Real, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret-of-the-worker")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    server = tester.declared(env={"MODE": "test", "GITHUB_TOKEN": Hidden("s3cret-of-the-server")})
    told = await play(serve, [call("t_environment")], [server])
    [message] = told.messages
    assert '"MODE": "test"' in message.content
    assert '"GITHUB_TOKEN": "***"' in message.content
    assert "s3cret" not in message.content
    assert "PYTHONPATH" not in message.content
