"""``make demo``, from outside: what it prints, how it ends, and that it leaves nothing running."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.cli.terminal import terminal
from tests.demo.demonstration import begun, demo, ended, environment, running, worker_of
from tests.root import source_root
from tests.sizes import sized


async def test_it_answers_says_what_it_cost_and_stops(tmp_path: Path) -> None:
    first = await demo(tmp_path)
    assert (first.code, first.err) == (0, "")
    for expected in (
        r"run +analyst-why-did-checkouts-fail-[0-9a-f]{6}\n",
        r"web +http://127\.0\.0\.1:\d+/namespaces/default/workflows/analyst-why-did-checkouts-fail-",
        r"✓ analyst · step 1 ",
        r'✓ search\(path="payments\.log"',
        r"offline scripted model, not an LLM",
        r"Likely first cause, at payments\.log:38",
        r"outcome +completed\n",
        r"cost +\$0\.0000 ",
        r"interlock transcript analyst-why-did-checkouts-fail-[0-9a-f]{6}\n",
    ):
        assert re.search(expected, first.out), f"{expected} is not in:\n{first.out}"
    assert list(tmp_path.glob("temporal*.db"))
    assert (tmp_path / "worker.log").stat().st_size > 0


async def test_files_and_questions_with_odd_characters(tmp_path: Path) -> None:
    logs = tmp_path / 'it\'s "odd" $HOME'
    logs.mkdir()
    (logs / "a b: 1: c.log").write_text("2026-01-02T10:00:00Z ERROR \x1b[2Jdown\n")
    (logs / "new\nline.log").write_text("INFO fine\n")
    (logs / "core").write_bytes(b"\0\1\2")
    question = 'it\'s "quoted" $HOME `id` \\ 为什么'
    make = shutil.which("make")
    assert make is not None
    # `-o`: the environment is as it is. `BIN`: these tests' own.
    result = await demo(
        *(tmp_path / "state", make, "-C", str(source_root()), "-o", ".venv/.complete", "demo"),
        *(f"BIN={Path(sys.executable).parent}", f"INPUT={question}", f"DIR={logs}"),
    )
    assert (result.code, result.err) == (0, "")
    assert f"Question   {question}\n" in result.out
    assert "a b: 1: c.log:1: 2026-01-02T10:00:00Z ERROR" in result.out
    assert "Not text, so not looked at: core" in result.out
    assert "\x1b" not in result.out


async def test_an_empty_directory_and_ports_that_are_taken(tmp_path: Path) -> None:
    empty = tmp_path / "logs"
    empty.mkdir()
    with socket.socket() as server, socket.socket() as ui:
        for taken, port in ((server, 7233), (ui, 8233)):
            try:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                taken.bind(("127.0.0.1", port))
                taken.listen()
            except OSError:
                continue  # somebody has it already, which is as good
        result = await demo(tmp_path / "state", INTERLOCK_DEMO_DIR=str(empty))
    assert result.code == 0
    assert "There are no files to look at" in result.out
    assert re.search(
        r"Port 7233 is in use: the server is at 127\.0\.0\.1:\d+, its data in .*temporal-2\.db", result.out
    )
    assert re.search(r"Port 8233 is in use: the Web UI is at http://127\.0\.0\.1:\d+", result.out)


@pytest.mark.parametrize("wrong", ["/no/such/directory", "examples/data/payments.log", "~nobody-of-this-name/logs"])
async def test_a_directory_that_is_none_is_one_clear_line(tmp_path: Path, wrong: str) -> None:
    result = await demo(tmp_path / "state", INTERLOCK_DEMO_DIR=wrong)
    assert (result.code, result.out) == (1, "")
    assert result.err.count("\n") == 1
    assert wrong in result.err
    assert not (tmp_path / "state").exists()


async def test_a_worker_that_dies_is_one_clear_line(tmp_path: Path) -> None:
    async with begun(tmp_path) as process:
        (await worker_of(tmp_path)).kill()
        result = await ended(process)
        assert running(tmp_path) == []
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert "the worker ended with code -9" in result.err


@pytest.mark.parametrize("number", sized([signal.SIGINT, signal.SIGTERM, signal.SIGHUP], [signal.SIGTERM]))
async def test_interrupted_it_stops_what_it_started(tmp_path: Path, number: signal.Signals) -> None:
    async with begun(tmp_path) as process:
        await worker_of(tmp_path)
        process.send_signal(number)
        result = await ended(process)
        assert running(tmp_path) == []
    assert (result.code, result.err) == (130, "")


async def test_at_a_terminal_it_says_what_ctrl_c_does_and_does_it(tmp_path: Path) -> None:
    async with terminal(environment(tmp_path), sys.executable, "-m", "examples.demo") as screen:
        try:
            await screen.until("Ctrl-C stops everything; the run goes on at the next start")
            assert "stops watching" not in screen.shown
            screen.process.send_signal(signal.SIGINT)
            assert await screen.code() == 130
            assert "Traceback" not in screen.shown
            assert running(tmp_path) == []
        finally:
            for left in running(tmp_path):
                left.kill()
