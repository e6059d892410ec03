"""The README is run as it stands: its agent on a worker, its clients and commands against that worker.

Only the model's provider is a stand-in: the agent's own ``openai:`` models, answered by the tests' billing server
through ``OPENAI_BASE_URL``.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from temporalio.client import Client

from interlock import Interlock
from interlock.contracts import UserMessage
from interlock.testing import temporal_server
from tests import warm
from tests.billing import Reply
from tests.billing.behaviours import script
from tests.billing.environment import billing
from tests.root import source_root

ANSWER = "The connection pool of payments shrank to 4."
TURNS = [Reply(tool_calls=[("search", {"text": "PoolTimeout"})], delay=0.5), Reply(text=ANSWER), Reply(text=ANSWER)]


def blocks(kind: str) -> list[str]:
    """The README's code blocks under a comment ``<!-- kind -->``."""
    text = (source_root() / "README.md").read_text()
    return re.findall(rf"<!-- {re.escape(kind)} -->\n```\w+\n(.*?)```", text, re.DOTALL)


def argv(line: str) -> list[str]:
    """A command of the README, with the tests' own environment for ``.venv``."""
    first, *rest = shlex.split(line)
    assert first.startswith(".venv/bin/"), line
    return [str(Path(sys.executable).parent / first.removeprefix(".venv/bin/")), *rest]


@asynccontextmanager
async def worker(command: list[str], environment: dict[str, str], log: Path) -> AsyncIterator[None]:
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=source_root(), env=environment, stdout=out, stderr=out
        )
    try:
        yield
        assert process.returncode is None, log.read_text()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


LEAVE = "\nimport os, sys; sys.stdout.flush(); os._exit(0)"
"""A plain Temporal client crashes now and then while the interpreter is taken down, after all is done (sdk-python#300;
``Interlock`` waits a moment to avoid it). That says nothing of the README, which must have come to its last line."""


async def output(*command: str, environment: dict[str, str]) -> str:
    """What a command printed, which must end well."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=source_root(),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    out = b""
    try:
        async with asyncio.timeout(90):
            while more := await process.stdout.read(65536):
                out += more
            await process.wait()
    except TimeoutError:
        process.kill()
        raise AssertionError(f"{shlex.join(command)} has not ended, and said:\n{out.decode()}") from None
    assert process.returncode == 0, f"{shlex.join(command)}:\n{out.decode()}"
    return out.decode()


async def at_once(command: list[str], environment: dict[str, str], directory: Path) -> str:
    """The same of another command of ours, without waiting for its imports again."""
    assert Path(command[0]).name == "interlock"
    out = directory / "command.out"
    out.unlink(missing_ok=True)
    process = warm.begin("interlock", tuple(command[1:]), environment=environment, out=out, err=out)
    try:
        code = await asyncio.wait_for(process.wait(), 60)
    finally:
        process.kill()
    assert code == 0, f"{shlex.join(command)}:\n{out.read_text()}"
    return out.read_text()


@pytest.fixture
async def own() -> AsyncIterator[Client]:
    """A server of its own: the README's users and accounts have names that others use as well, and an account that a
    test has left behind is served by nobody."""
    async with temporal_server() as environment:
        yield environment.client


async def test_the_readme_runs(own: Client, tmp_path: Path) -> None:
    agents, [serve], clients, shell = blocks("my_agents.py"), blocks("worker"), blocks("client"), blocks("shell")
    (tmp_path / "my_agents.py").write_text("\n\n".join(agents))
    async with billing(script(TURNS)) as provider:
        environment = {name: value for name, value in os.environ.items() if name != "INTERLOCK_TASK_QUEUE"}
        environment |= {
            "TEMPORAL_ADDRESS": own.service_client.config.target_host,
            "PYTHONPATH": str(tmp_path),
            "INTERLOCK_STORE": str(tmp_path / "store"),
            "INTERLOCK_FLEET": f"readme-{tmp_path.name}",
        }
        async with worker(argv(serve.strip()), environment, tmp_path / "worker.log"):
            for client in clients:
                out = await output(sys.executable, "-c", client + LEAVE, environment=environment)
                assert out.startswith("completed after ")
                assert ANSWER in out
            assert len(provider.requests) >= 4
            told = (await Interlock(own).transcript("checkouts-1")).messages
            assert any(isinstance(one, UserMessage) and one.text == "Look at payments first." for one in told)
            assert any(one.role == "tool" and "PoolTimeout: no connection" in one.content for one in told)
            first, *others = map(argv, "".join(shell).splitlines())
            outputs = [await output(*first, environment=environment)]
            outputs += [await at_once(command, environment, tmp_path) for command in others]
    run, listed, traced, _, supported, shown, changed, killed, released, breakers = outputs
    assert ANSWER in run
    assert "checkouts-1" in listed
    assert "invoke_agent analyst" in traced
    assert ANSWER in supported
    assert "$5.00 a day" in shown
    assert "$8.00 a day" in changed
    assert "mallory" in killed
    assert "mallory" in released
    assert "breaker" in breakers


def test_every_block_of_code_is_run_by_a_test() -> None:
    text = (source_root() / "README.md").read_text()
    known = [*blocks("my_agents.py"), *blocks("worker"), *blocks("client"), *blocks("shell")]
    rest = [block for block in re.findall(r"```(?:bash|python)\n(.*?)```", text, re.DOTALL) if block not in known]
    makefile = (source_root() / "Makefile").read_text()
    for line in "".join(rest).splitlines():
        tool, target = line.split()
        assert tool == "make"
        assert re.search(rf"^{target}: ", makefile, re.MULTILINE), line


def test_whatever_make_lists_it_makes() -> None:
    """A phony target without a recipe does nothing, and ends well."""
    makefile = (source_root() / "Makefile").read_text()
    [phony] = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    told = re.findall(r"^(\w+):.* ## ", makefile, re.MULTILINE)
    assert sorted(phony.split()) == sorted([*told, "compose"])


def test_what_the_readme_points_at_is_there_and_it_is_short() -> None:
    text = (source_root() / "README.md").read_text()
    assert len(text.splitlines()) < 200
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (source_root() / target).exists(), target
    for entry in re.findall(r"^([\w.]+/?) {2,}", text.rpartition("## The house")[2], re.MULTILINE):
        assert (source_root() / entry).exists(), entry
    for image in (source_root() / "docs/images").glob("*.png"):
        assert image.stat().st_size < 300 * 1024, image
