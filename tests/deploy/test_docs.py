"""What docs/deploying.md and docs/metrics.md say of others' names is what those have: Temporal's own metrics, as a real
server and a real worker expose them, its client configuration, and our own variables."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from interlock.embedded import free_port, server_arguments, server_binary
from interlock.telemetry.runtime import worker_runtime
from tests.deploy.stack import ROOT

DEPLOYING = (ROOT / "docs/deploying.md").read_text()
METRICS = (ROOT / "docs/metrics.md").read_text()


@activity.defn(name="broken")
async def broken() -> None:
    raise RuntimeError("as asked")


@workflow.defn(name="Troubled")
class Troubled:
    """Fails in each way that has a counter of its own."""

    @workflow.run
    async def run(self, trouble: str) -> None:
        if trouble == "stuck":
            raise RuntimeError("as asked: no decision of this run ever succeeds")
        if trouble == "waits":
            await workflow.sleep(3600)
        await workflow.execute_activity(
            broken, start_to_close_timeout=timedelta(seconds=30), retry_policy=RetryPolicy(maximum_attempts=1)
        )


def exposed(port: int) -> dict[str, str]:
    """The metrics on a port -> their types."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return dict(re.findall(r"^# TYPE (\w+) (\w+)$", answer.read().decode(), re.MULTILINE))


def told() -> dict[str, str]:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", METRICS, re.MULTILINE)
    return {name: kind for name, kind in rows if not name.startswith("interlock_")}


async def test_every_metric_of_temporal_that_we_use_was_seen() -> None:
    worker_port, server_port = free_port(), free_port()
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(server_binary()),
        dev_server_extra_args=[*server_arguments(), "--metrics-port", str(server_port)],
        dev_server_log_level="error",
    ) as environment:
        runtime = worker_runtime(f"127.0.0.1:{worker_port}")  # as worker.py makes it: what it leaves out is missing
        client = await Client.connect(environment.client.service_client.config.target_host, runtime=runtime)
        async with Worker(
            client,
            task_queue="troubled",
            workflows=[Troubled],
            activities=[broken],
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_cached_workflows=1,
        ):
            for trouble in ("stuck", "waits"):
                await client.start_workflow("Troubled", trouble, id=trouble, task_queue="troubled")
            with pytest.raises(WorkflowFailureError):
                await client.execute_workflow("Troubled", "fails", id="fails", task_queue="troubled")
            with pytest.raises(RPCError):
                await client.get_workflow_handle("nobody").describe()
            seen: dict[str, str] = {}
            for _ in range(60):
                for port in (server_port, worker_port):
                    seen |= await asyncio.to_thread(exposed, port)
                if not set(told()) - set(seen):
                    break
                await asyncio.sleep(0.5)
            assert set(told()) - set(seen) == set()
            assert {name: seen[name] for name in told()} == told()


def test_every_variable_of_ours_has_a_row() -> None:
    sources = [ROOT / "worker.py", *(ROOT / "interlock").rglob("*.py"), *(ROOT / "activities").rglob("*.py")]
    read = {name for path in sources for name in re.findall(r'"(INTERLOCK_[A-Z_]+)"', path.read_text())}
    rows = set(re.findall(r"^\| `(INTERLOCK_\w+)` \|", DEPLOYING, re.MULTILINE))
    assert "INTERLOCK_JOURNAL" in read
    assert read - rows == set()


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    for name in ("client.pem", "client.key", "ca.pem"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_the_variables_of_tls_are_the_sdk_s(certificates: Path) -> None:
    names = set(re.findall(r"`(TEMPORAL_TLS_\w+)`", DEPLOYING))
    values = {
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(certificates / "ca.pem"),
        "TEMPORAL_TLS_SERVER_NAME": "temporal",
        "TEMPORAL_TLS_CLIENT_CERT_PATH": str(certificates / "client.pem"),
        "TEMPORAL_TLS_CLIENT_KEY_PATH": str(certificates / "client.key"),
    }
    assert names == set(values)
    loaded = ClientConfig.load_client_connect_config(disable_file=True, override_env_vars=values)
    tls = loaded["tls"]
    assert not isinstance(tls, bool)
    assert tls is not None
    assert (tls.domain, tls.server_root_ca_cert) == ("temporal", b"ca.pem")
    assert (tls.client_cert, tls.client_private_key) == (b"client.pem", b"client.key")


def test_the_profile_is_one_that_the_sdk_reads(certificates: Path) -> None:
    [block] = re.findall(r"```toml\n(.*?)```", DEPLOYING, re.DOTALL)
    file = certificates / "temporal.toml"
    file.write_text(block.replace("/run/secrets", str(certificates)))
    loaded = ClientConfig.load_client_connect_config(profile="prod", config_file=str(file), override_env_vars={})
    assert loaded["namespace"] == "prod"
    assert loaded["tls"]
