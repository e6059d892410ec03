"""An MCP server that dies, hangs, is cancelled or outlives its worker: what its calls and processes come to."""

from __future__ import annotations

import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from interlock import Agent, AgentResult, Limits, Retry
from interlock.client import Run
from interlock.contracts import ToolMessage
from interlock.embedded import free_port
from interlock.mcp_server import McpServer, mcp
from interlock.testing import Say, ScriptedModel, call, calls, say
from tests.conftest import Serve, Served
from tests.fleet.environment import NEVER, configured
from tests.mcp.conftest import Real, StartHttp, alive, hostile, until
from tests.runs.test_tools import QUICK


def scripted(server: McpServer, *turns: Say, name: str = "a") -> Agent:
    model = ScriptedModel(f"ends-{name}", [*turns, say("done")])
    return Agent(name=name, instructions="", models=model.model, tools=[server], retry=QUICK, repeat_limit=1000)


async def told(served: Served, run: Run) -> tuple[AgentResult, list[ToolMessage]]:
    result = await served.end(run)
    messages = (await served.interlock.transcript(run.id)).messages
    return result, [message for message in messages if isinstance(message, ToolMessage)]


async def test_a_write_whose_server_is_killed_in_mid_call_is_not_made_again(tester: Real, serve: Serve) -> None:
    async with serve(scripted(tester.light(), call("t_once", label="x"), call("t_pid"))) as served:
        run = await served.start("a")
        [line] = await tester.seen("once x")
        killed = int(line.split()[-1])
        os.kill(killed, signal.SIGKILL)
        _, [unknown, after] = await told(served, run)
    assert unknown.is_error
    assert unknown.content.startswith("ToolOutcomeUnknown: the MCP server t ended by signal 9 in mid-call")
    assert "may or may not have taken effect" in unknown.content
    assert len(tester.noted("once x")) == 1
    assert not after.is_error
    assert int(after.content) != killed
    assert len(tester.noted("start")) == 2


async def test_a_read_whose_server_is_killed_in_mid_call_is_made_again_by_another_process(
    tester: Real, serve: Serve
) -> None:
    agent = scripted(tester.light(effects={"once": "read"}), call("t_once", label="x"))
    async with serve(agent) as served:
        run = await served.start("a")
        [line] = await tester.seen("once x")
        os.kill(int(line.split()[-1]), signal.SIGKILL)
        _, [answer] = await told(served, run)
    assert answer.content == "x at attempt 2"
    assert len({line.split()[-1] for line in tester.noted("once x")}) == 2


async def test_a_server_that_died_between_calls_is_replaced_unseen(tester: Real, serve: Serve) -> None:
    # A read: on a busy machine the next call may be on its way before the death is noticed.
    async with serve(scripted(tester.light(effects={"pid": "read"}), call("t_pid"))) as served:
        _, [first] = await told(served, await served.start("a"))
        os.kill(int(first.content), signal.SIGKILL)
        _, [second] = await told(served, await served.start("a"))
        _, [third] = await told(served, await served.start("a"))
    assert first.content != second.content == third.content
    assert not second.is_error


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_cancelled_run_cancels_its_call_and_leaves_the_connection(
    transport: str, tester: Real, start_http: StartHttp, serve: Serve
) -> None:
    server = tester.declared()
    if transport == "http":
        port = free_port()
        await start_http(port)
        server = mcp(f"http://127.0.0.1:{port}/mcp", name="t")
    async with serve(
        scripted(server, call("t_hang", label="x"), name="hangs"), scripted(server, call("t_pid"), name="asks")
    ) as served:
        run = await served.start("hangs")
        [line] = await tester.seen("hang x")
        await run.handle.cancel()
        assert (await run.result()).outcome == "cancelled"
        await tester.seen("cancelled x")
        _, [pid] = await told(served, await served.start("asks"))
    assert pid.content == line.split()[-1]
    assert len(tester.noted("start")) == 1


async def test_a_call_that_takes_too_long_is_cancelled_in_the_server_and_its_neighbour_is_not(
    tester: Real, serve: Serve
) -> None:
    turn = calls(call("t_hang", label="slow"), call("t_hang", label="quick", seconds=0.2))
    async with serve(scripted(tester.light(timeout=5), turn)) as served:
        _, [slow, quick] = await told(served, await served.start("a"))
        await tester.seen("cancelled slow")
    assert len(tester.noted("start")) == 1
    assert slow.content.startswith("ToolOutcomeUnknown: t_hang did not ")  # the worker says so, or first the server
    assert quick.content == "quick is over"


async def test_a_server_that_hangs_is_replaced(serve: Serve, tmp_path: Path) -> None:
    patient = Retry(attempts=30, initial=0.2, maximum=0.2, jitter=0)
    server = hostile("hangs", str(tmp_path / "hangs"), timeout=0.5, effects={"act": "read"}, retry=patient)
    async with serve(scripted(server, call("h_act"))) as served:
        await configured(served, NEVER)
        _, [answer] = await told(served, await served.start("a"))
    assert answer.content == "done"


async def test_an_http_server_that_was_started_anew_is_met_anew(
    tester: Real, start_http: StartHttp, serve: Serve
) -> None:
    port = free_port()
    first = await start_http(port)
    patient = Retry(attempts=20, initial=0.5, factor=1.2)
    server = mcp(f"http://127.0.0.1:{port}/mcp", name="t", effects={"pid": "read", "once": "read"}, retry=patient)
    async with serve(scripted(server, call("t_once", label="x")), scripted(server, call("t_pid"), name="b")) as served:
        await configured(served, NEVER)  # a machine that takes long to start the second is not tested
        run = await served.start("a")
        await tester.seen("once x")
        first.kill()
        await first.wait()
        second = await start_http(port)
        _, [answer] = await told(served, run)
        _, [pid] = await told(served, await served.start("b"))
    assert answer.content == "x at attempt 2"
    assert pid.content == str(second.pid)


CRASHES = """
import os, pathlib, runpy, sys
starts = pathlib.Path(sys.argv[2])
with starts.open("a") as file:
    file.write("start\\n")
if len(starts.read_text().splitlines()) > 1:
    sys.exit("out of order")
del sys.argv[2]
runpy.run_path("tests/mcp/light.py", run_name="__main__")
"""


async def test_a_server_that_ends_at_every_start_is_not_started_in_a_tight_loop(
    tester: Real, tmp_path: Path, serve: Serve
) -> None:
    starts = tmp_path / "starts"
    (tmp_path / "crashes.py").write_text(CRASHES)
    command = [sys.executable, str(tmp_path / "crashes.py"), str(tester.notes), str(starts)]
    server = mcp(command, name="t", cwd=str(Path.cwd()))
    turns = [call("t_leave", code=3), *(call("t_pid") for _ in range(12))]
    async with serve(scripted(server, *turns)) as served:
        await configured(served, NEVER)  # the breaker would refuse most of these calls
        _, [left, *others] = await told(served, await served.start("a"))
    assert left.content.startswith("ToolOutcomeUnknown: the MCP server t ended with exit code 3 in mid-call")
    assert len(others) == 12
    for message in others:
        assert message.content.startswith("ToolFailed: ")
        assert message.content.endswith("Nothing was run.")
    assert "ended with exit code 1 before it answered; it said: 'out of order'" in others[0].content
    started, refused = starts.read_text().splitlines(), ["is not started again for" in each.content for each in others]
    assert len(started) <= 8, "12 calls, and a start for few of them"
    assert len(started) == 1 + refused.count(False)  # a busy machine may be at the last call when a start is due again


STUBBORN = """
import pathlib, runpy, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal as s, time; s.signal(15, s.SIG_IGN); time.sleep(600)"])
pathlib.Path(sys.argv.pop()).write_text(str(child.pid))
runpy.run_path("tests/mcp/light.py", run_name="__main__")
"""


@pytest.mark.parametrize("leaves", [True, False])
async def test_nothing_is_left_of_a_server_when_its_worker_has_ended(
    tester: Real, tmp_path: Path, serve: Serve, *, leaves: bool
) -> None:
    """Neither of one that ends when it should and leaves a child behind, nor of one that does not end."""
    script, child = tmp_path / "stubborn.py", tmp_path / "child"
    script.write_text(STUBBORN + ("" if leaves else "import time; time.sleep(600)\n"))
    server = mcp([sys.executable, str(script), str(tester.notes), str(child)], name="t", cwd=str(Path.cwd()))
    async with serve(scripted(server, call("t_pid"))) as served:
        _, [pid] = await told(served, await served.start("a"))
        pids = [int(pid.content), int(child.read_text())]
        assert all(map(alive, pids))
    await until(lambda: not any(map(alive, pids)), "the end of the processes")


async def test_a_worker_that_ends_while_a_call_is_made_ends_the_server_too(tester: Real, serve: Serve) -> None:
    agent = scripted(tester.light(), call("t_hang", label="x"))
    async with serve(agent, grace=timedelta(seconds=0.2)) as served:
        run = await served.start("a", limits=Limits(seconds=60))
        [line] = await tester.seen("hang x")
    await until(lambda: not alive(int(line.split()[-1])), "the end of the process")
    await run.handle.terminate()
