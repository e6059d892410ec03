"""What runs inside the containers, run here: the namespace job against a real server, the health check against a real
worker; and every file of the stack is read."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from temporalio import workflow
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from interlock.embedded import DYNAMIC_CONFIG, free_port
from interlock.search_attributes import SEARCH_ATTRIBUTES
from interlock.telemetry.runtime import worker_runtime
from tests.deploy.stack import DEPLOY, ROOT, load

FILES = sorted(
    path for path in DEPLOY.rglob("*") if path.suffix in {".yml", ".yaml", ".json"} and "__pycache__" not in path.parts
)


@pytest.mark.parametrize("path", [ROOT / "docker-compose.yml", *FILES], ids=lambda path: str(path.relative_to(ROOT)))
def test_it_can_be_read(path: Path) -> None:
    assert load(path)


def test_the_server_is_told_what_the_development_server_is_told() -> None:
    settings = load(DEPLOY / "temporal/dynamic-config.yaml")
    told = {key: entries[0]["value"] for key, entries in settings.items()}
    assert told.items() >= DYNAMIC_CONFIG.items()


def test_each_dynamic_setting_has_its_reason() -> None:
    text = (DEPLOY / "temporal/dynamic-config.yaml").read_text()
    for paragraph in text.split("\n\n")[1:]:
        assert paragraph.startswith("# ")
    assert len(yaml.safe_load(text)) >= len(DYNAMIC_CONFIG)


@pytest.mark.parametrize("script", sorted((DEPLOY / "temporal").glob("*.sh")), ids=lambda path: path.name)
def test_a_script_parses(script: Path) -> None:
    subprocess.run(["sh", "-n", script], check=True, timeout=60)


async def run_job(script: str, **environment: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        "sh",
        str(DEPLOY / "temporal" / script),
        env={"PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}", "HOME": "/nonexistent", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    return process.returncode or 0, out.decode()


async def test_the_namespace_job_makes_what_runs_need_and_may_run_again(temporal: Client) -> None:
    namespace = f"stack-{uuid.uuid4().hex[:8]}"
    address = temporal.service_client.config.target_host
    for retention, days in (("72h", 3), ("30d", 30)):
        code, out = await run_job(
            "namespace.sh", TEMPORAL_ADDRESS=address, TEMPORAL_NAMESPACE=namespace, RETENTION=retention
        )
        assert code == 0, out
        listed = await temporal.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=namespace)
        )
        kinds = {2: "Keyword", 3: "Int", 4: "Double"}
        made = {name: kinds.get(kind, str(kind)) for name, kind in listed.custom_attributes.items()}
        assert {name: made.get(name) for name in SEARCH_ATTRIBUTES} == SEARCH_ATTRIBUTES
        described = await temporal.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=namespace))
        assert described.config.workflow_execution_retention_ttl.ToTimedelta() == timedelta(days=days)


async def test_the_jobs_say_what_is_missing() -> None:
    for script, first in (("namespace.sh", "TEMPORAL_ADDRESS"), ("schema.sh", "POSTGRES_HOST")):
        code, out = await run_job(script)
        assert code != 0
        assert first in out


def test_the_job_names_the_attributes_and_no_other() -> None:
    text = (DEPLOY / "temporal/namespace.sh").read_text()
    told = {
        name: kind
        for kind, *names in (
            line.split()[1:] for line in text.splitlines() if line.startswith("add ") and "$" not in line
        )
        for name in names
    }
    assert told == SEARCH_ATTRIBUTES


@workflow.defn(name="Nothing")
class Nothing:
    @workflow.run
    async def run(self) -> None:
        return


@pytest.fixture
def metrics() -> tuple[Runtime, int]:
    """The runtime of a worker where INTERLOCK_METRICS is set."""
    port = free_port()
    return worker_runtime(f"127.0.0.1:{port}"), port


async def healthy(metrics: str | None) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(DEPLOY / "healthcheck.py"),
        env={} if metrics is None else {"INTERLOCK_METRICS": metrics},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode()


async def test_a_worker_is_healthy_while_it_polls(temporal: Client, metrics: tuple[Runtime, int]) -> None:
    runtime, port = metrics
    target = f"0.0.0.0:{port}"
    client = await Client.connect(temporal.service_client.config.target_host, runtime=runtime)
    code, out = await healthy(target)
    assert (code, out) == (1, "0 pollers\n")  # connected, and at no work
    queue = f"health-{uuid.uuid4().hex[:8]}"
    async with Worker(client, task_queue=queue, workflows=[Nothing], workflow_runner=UnsandboxedWorkflowRunner()):
        await client.execute_workflow("Nothing", id=queue, task_queue=queue)
        code, out = await healthy(target)
        assert code == 0, out


async def test_a_worker_that_does_not_answer_is_not_healthy() -> None:
    code, out = await healthy(f"0.0.0.0:{free_port()}")
    assert code == 1
    assert "no metrics on port" in out
    code, out = await healthy(None)
    assert code == 1
    assert "INTERLOCK_METRICS" in out
