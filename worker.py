"""The worker: settings -> client -> providers and agents -> a Temporal worker. The composition root.

    python worker.py [--agents MODULE[:NAME]]... [--embedded] [--task-queue Q] [--max-model-calls N] ...

Ends on SIGTERM and SIGINT: takes no new work, lets calls in flight finish for ``--grace`` seconds, and hands
the rest over to whichever worker comes next. It has ended ten seconds later, whatever its tools do.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import structlog
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.agents import BadReference, Registry, load, reachable
from activities.alert import AlertActivity
from activities.alerting import Alerting
from activities.apart import MOST_CALLS, serving_calls
from activities.fleet_gate import fleet_gate
from activities.gauges import counting
from activities.invoking import contain
from activities.journal import Journal, journal_path
from activities.ledger import LedgerActivities, start_ledgers
from activities.mcp import with_mcp_tools
from activities.model import ModelActivity
from activities.predicates import Predicates
from activities.providers import Provider, Providers
from activities.providers.lazily import Lazily
from activities.providers.scripted import Scripted
from activities.recall import RecallActivity
from activities.seen import SeenAttempts
from activities.sweep import SweepActivity
from activities.tools import tool_activity
from activities.transcripts import Transcripts
from interlock import options, sandbox
from interlock.agents import Agent
from interlock.connection import connect, task_queue
from interlock.current_details import CurrentDetails
from interlock.embedded import Server, embedded_server
from interlock.errors import InterlockError
from interlock.fleet import fleet_id
from interlock.keys import Keys
from interlock.open_runs import refuse_foreign, refuse_foreign_fleet
from interlock.present import one_line
from interlock.queues import Apart, Limits
from interlock.registration import register_search_attributes
from interlock.telemetry.logs import configure_logging
from interlock.telemetry.metrics import of_client
from interlock.telemetry.runtime import worker_runtime
from interlock.telemetry.traces import configure_tracing
from interlock.worker_flags import parse
from workflows.agent_run import AgentRun
from workflows.budget_ledger import BudgetLedger
from workflows.fleet_control import FleetControl

log = structlog.get_logger("interlock.worker")

LAST = 10.0
"""Seconds beyond its grace after which a worker that was told to end does, whatever it still waits for."""


def default_providers() -> Providers:
    """Production and test differ by this dictionary."""
    return Providers(named={"scripted": Scripted()}, default=Lazily(_every_real_one))


def _every_real_one() -> Provider:
    from activities.providers.pydantic_ai import PydanticAI

    return PydanticAI()


@asynccontextmanager
async def serving(
    client: Client,
    agents: Sequence[Agent],
    *,
    queue: str | None = None,
    fleet: str | None = None,
    providers: Providers | None = None,
    transcript_bytes: int = 64 * 1024 * 1024,
    max_cached_workflows: int = 1000,
    limits: Limits = Limits(),  # noqa: B008  # frozen
    grace: timedelta = timedelta(seconds=20),
) -> AsyncIterator[Worker]:
    """A worker that serves ``agents`` while the block runs. Raises ``BadReference`` for agents it cannot serve.

    fleet                 the id of the ``FleetControl`` whose kills and breakers it obeys
    transcript_bytes      the transcripts kept in memory; 0: rebuild from history at every call
    max_cached_workflows  open runs kept in memory; 0: replay from history at every task
    limits                what it takes on at the same time; ``limits.runs`` is ``max_cached_workflows``"""
    queue, fleet = _apart(queue, fleet)
    contain(asyncio.get_running_loop())
    async with AsyncExitStack() as stack:
        known = providers or default_providers()
        stack.push_async_callback(known.close)
        whole = await stack.enter_async_context(with_mcp_tools(reachable(agents)))
        alerting = await stack.enter_async_context(Alerting(client.namespace))
        await stack.enter_async_context(_fleet(client, fleet, alerting))
        gate = await stack.enter_async_context(fleet_gate(client, fleet, alerting))
        registry = Registry(whole, known, gate)
        metrics = of_client(client)
        metrics.begin(registry.dependencies())
        journal = Journal(journal_path(), client.data_converter)
        stack.push_async_callback(journal.close)
        predicates = Predicates(registry.tools)
        model = ModelActivity(known, Transcripts(client, transcript_bytes), journal, gate, predicates)
        ledgers = LedgerActivities(client)
        cached = limits.runs or max_cached_workflows
        tools = [tool_activity(tool, gate) for tool in registry.tools]
        worker = Worker(
            client,
            task_queue=queue,
            workflows=[AgentRun, BudgetLedger],
            activities=[
                registry.resolve_agent,
                model.model,
                ledgers.lease,
                ledgers.settle,
                ledgers.audit,
                RecallActivity(client).recall,
                AlertActivity(alerting, metrics).alert,
                *tools,
            ],
            interceptors=[SeenAttempts(), Apart(queue, limits.apart), CurrentDetails()],
            workflow_runner=sandbox.strict(),
            max_cached_workflows=cached,
            # They are Python on one lock: more at a time only makes each take longer, up to the SDK's two seconds.
            max_concurrent_workflow_tasks=min(20, cached) or None,
            max_concurrent_activities=MOST_CALLS,
            graceful_shutdown_timeout=grace,
            # What a dead worker had in its sticky queue waits this long for it: 10 s by default.
            sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
            max_heartbeat_throttle_interval=options.HEARTBEAT_EVERY,
            default_heartbeat_throttle_interval=options.HEARTBEAT_EVERY,
        )
        await stack.enter_async_context(serving_calls(worker, client, limits, [model.model], tools))
        await start_ledgers(client, registry.agents, queue)
        if metrics.live:
            await stack.enter_async_context(counting(client, list(registry.agents.values()), metrics))
        yield worker


def _apart(queue: str | None, fleet: str | None) -> tuple[str, str]:
    """The task queue of the runs and that of the fleet, which a worker serves with other workflows each."""
    queue, fleet = queue or task_queue(), fleet or fleet_id()
    if queue == fleet:
        raise BadReference(
            f"runs and the fleet cannot share the task queue {queue!r}; "
            "name another with --task-queue (INTERLOCK_TASK_QUEUE) or INTERLOCK_FLEET"
        )
    return queue, fleet


def _fleet(client: Client, fleet: str, alerting: Alerting) -> Worker:
    """What serves the fleet's switchboard: every worker process has one."""
    return Worker(
        client,
        task_queue=fleet,
        workflows=[FleetControl],
        activities=[SweepActivity(client).sweep, AlertActivity(alerting, of_client(client)).alert],
        interceptors=[CurrentDetails()],
        workflow_runner=sandbox.strict(),
        max_cached_workflows=4,
        max_concurrent_workflow_task_polls=2,
        max_concurrent_activity_task_polls=1,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        max_heartbeat_throttle_interval=options.HEARTBEAT_EVERY,
        default_heartbeat_throttle_interval=options.HEARTBEAT_EVERY,
    )


async def main(arguments: argparse.Namespace) -> int:
    stop, grace = asyncio.Event(), timedelta(seconds=arguments.grace)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    _apart(arguments.task_queue, None)
    agents = reachable(load(arguments.agents or ["examples.analyst"]))
    Registry(agents, default_providers())  # before anything is started: a mistake here is the author's to mend
    async with AsyncExitStack() as stack:
        server: Server | None = None
        if arguments.embedded:
            server = await stack.enter_async_context(
                embedded_server(Path(".interlock/temporal.db"), port=7233, ui_port=8233)
            )
            os.environ["TEMPORAL_ADDRESS"] = server.address
            log.info("server.started", address=server.address, ui=server.ui)
        configure_tracing()
        client = await connect(worker_runtime(arguments.metrics or os.environ.get("INTERLOCK_METRICS")))
        keys = Keys.of_environment()
        await refuse_foreign(client, arguments.task_queue or task_queue(), keys)
        await refuse_foreign_fleet(client, fleet_id(), keys)
        await register_search_attributes(client)
        await stack.enter_async_context(
            serving(client, agents, queue=arguments.task_queue, limits=arguments.limits, grace=grace)
        )
        log.info(
            "worker.started",
            task_queue=arguments.task_queue or task_queue(),
            namespace=client.namespace,
            agents=[agent.name for agent in agents],
            pid=os.getpid(),
        )
        await stop.wait()
        log.info("worker.stopping", grace_seconds=arguments.grace)
        last = threading.Timer(arguments.grace + LAST, _give_up, [arguments.grace + LAST, server])
        last.daemon = True
        last.start()
    last.cancel()
    log.info("worker.stopped")
    return 0


def _give_up(seconds: float, server: Server | None) -> None:
    """What keeps the worker is a tool that heeds no cancellation. Its heartbeats end with the process, and another
    worker takes its call over."""
    log.error("worker.gave_up", seconds=seconds)
    if server is not None:
        with suppress(ProcessLookupError):
            os.kill(server.process.pid, signal.SIGTERM)
    os._exit(1)


def _run(arguments: argparse.Namespace) -> int:
    try:
        configure_logging()
        return asyncio.Runner().run(main(arguments))
    except (BadReference, InterlockError) as error:
        print(f"worker.py: {one_line(str(error))}", file=sys.stderr)
        return 2
    except RPCError as error:
        print(f"worker.py: the Temporal server refused: {error.message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before there was anything to stop
        return 130
    except BaseException:
        log.exception("worker.failed")
        return 1


if __name__ == "__main__":
    code = _run(parse())
    atexit._run_exitfuncs()  # spans on their way are sent
    # Not sys.exit: a thread of a library that is busy, or a task that heeds no cancellation, would be waited for.
    os._exit(code)
