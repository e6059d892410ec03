"""A command line that is wrong: one line that names the flag, exit code 2, and no server is asked. And the help."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from interlock.cli import MISUSED
from interlock.cli.session import carry_out
from tests.cli.conftest import CommandLine, environment
from tests.root import source_root

NOWHERE = CommandLine(environment(TEMPORAL_ADDRESS="127.0.0.1:1"))


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ("run a", "INPUT"),
        ("run a go --usd -1", "--usd"),
        ("run a go --usd nan", "--usd"),
        ("run a go --usd Infinity", "--usd"),
        ("run a go --usd a.lot", "--usd"),
        ("run a go --tokens 1.5", "--tokens"),
        ("run a go --tokens -5", "--tokens"),
        ("run a go --seconds 0", "--seconds"),
        ("run a go --steps 0", "--steps"),
        ("run a go --tool-calls many", "--tool-calls"),
        ("run a go --complexity brutal", "--complexity"),
        ("run a go --priority 0", "--priority"),
        ("run a go --priority 6", "--priority"),
        ("run a go --priority high", "--priority"),
        ("run a go --output yaml", "--output"),
        ("run a go --nonsense", "--nonsense"),
        ("run a go --id=", "--id"),
        ("run a go --user=", "--user"),
        ("list --state asleep", "--state"),
        ("list --limit 0", "--limit"),
        ("extend some-run", "--usd"),
        ("status", "RUN"),
        ("status some-run more", "unexpected: more"),
        ("budget show", "ACCOUNT"),
        ("budget show user:{user_id}", "ACCOUNT"),
        ("budget set", "ACCOUNT"),
        ("budget set fleet --window day", "--usd"),
        ("budget set fleet --usd 5.00", "--window"),
        ("budget set fleet --usd -5 --window day", "--usd"),
        ("budget set fleet --usd 1e3 --window day", "--usd"),
        ("budget set fleet --usd 5 --window week", "--window"),
        ("budget set fleet --usd 5 --window week", "interlock budget set --help"),
        ("budget sat fleet", "sat"),
        ("kill", "RUN, --user or --all"),
        ("kill a-run --all", "only one; 2"),
        ("kill --user ada --all", "only one; 2"),
        ("kill a-run --user ada --all", "only one; 3"),
        ("kill --user=", "--user: it must not be empty"),
        ("kill --user", "--user"),
        ("kill --no-all", "--no-all"),
        ("kill a-run b-run", "unexpected: b-run"),
        (f"kill a-run --reason {'x' * 2001}", "--reason"),
        (f"kill --user {'x' * 1001}", "--user"),
        ("release", "--user or --all"),
        ("release --user ada --all", "only one; 2"),
        ("release a-run", "unexpected: a-run"),
        ("release --user=", "--user: it must not be empty"),
        ("kills all", "unexpected: all"),
        ("breakers sat", "sat"),
        ("breakers set", "--failure-threshold"),
        ("breakers set openai:gpt-5", "name at least one setting"),
        ("breakers set --failure-threshold 0", "--failure-threshold"),
        ("breakers set --failure-threshold 2.5", "--failure-threshold"),
        ("breakers set --failure-rate 0", "--failure-rate"),
        ("breakers set --failure-rate 1.5", "--failure-rate"),
        ("breakers set --failure-rate half", "--failure-rate"),
        ("breakers set --window-seconds 0", "--window-seconds"),
        ("breakers set --window-slices 101", "--window-slices"),
        ("breakers set --least-calls 0", "--least-calls"),
        ("breakers set --recovery-seconds -1", "--recovery-seconds"),
        ("breakers set --recovery-factor 0.9", "--recovery-factor"),
        ("breakers set --recovery-max inf", "--recovery-max"),
        ("breakers set --slow-seconds 0", "--slow-seconds"),
        ("breakers set --successes-to-close none", "--successes-to-close"),
        (f"breakers set {'x' * 301} --failure-threshold 2", "DEPENDENCY"),
        ("rum", "rum"),
    ],
)
def test_it_is_one_line_that_names_what_is_wrong(
    arguments: str, names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert carry_out(arguments.split()) == MISUSED
    said = capsys.readouterr()
    assert said.out == ""
    [line] = said.err.splitlines()
    assert names in line
    assert line.endswith("--help")


async def test_help_imports_neither_temporal_nor_the_contracts() -> None:
    ran, version, bare = await asyncio.gather(*(NOWHERE(*given) for given in (["--help"], ["--version"], [])))
    assert (ran.code, version.code, bare.code) == (0, 0, 0)
    for command in (
        "run",
        "status",
        "list",
        "transcript",
        "steer",
        "doctor",
        "kill",
        "pause",
        "resume",
        "extend",
        "budget",
        "release",
        "kills",
        "breakers",
    ):
        assert f" {command} " in ran.out
    assert "Exit codes" in ran.out
    assert bare.out == ran.out

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "importtime", "-m", "interlock.cli", "run", "--help",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, imported = await process.communicate()
    assert b"--usd" in out
    for heavy in (b"temporalio", b"pydantic", b"google.protobuf"):
        assert heavy not in imported


async def test_a_process_that_is_misused_or_finds_no_server_says_so_and_exits_with_its_code() -> None:
    misused, *serverless = await asyncio.gather(
        NOWHERE("run", "a", "go", "--usd", "nan"), NOWHERE("run", "a", "go"), NOWHERE("list"), NOWHERE("kill", "a-run")
    )
    assert (misused.code, misused.out) == (2, "")
    assert "--usd: 'nan' is not an amount of dollars" in misused.complaint
    for ran in serverless:
        assert (ran.code, ran.out) == (1, "")
        assert "127.0.0.1:1; start one" in ran.complaint
        assert "TEMPORAL_ADDRESS" in ran.complaint


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "not an address", ":"])
async def test_an_address_that_is_none_is_one_line(address: str) -> None:
    ran = await CommandLine(environment(TEMPORAL_ADDRESS=address))("list")
    assert (ran.code, ran.out) == (1, "")
    assert ran.complaint.startswith(f"interlock: cannot connect to '{address}': ")


@pytest.mark.parametrize(("redirected", "said"), [(">/dev/full", "cannot be written: No space left"), (">&-", "")])
def test_a_standard_output_that_takes_nothing_is_no_traceback(redirected: str, said: str) -> None:
    program = f"{sys.executable} -m interlock.cli --help {redirected}"
    done = subprocess.run(["sh", "-c", program], capture_output=True, text=True, cwd=source_root(), check=False)
    assert ("Traceback" in done.stderr, said in done.stderr, len(done.stderr.splitlines()) <= 1) == (False, True, True)
    assert done.returncode == (1 if said else 0)
