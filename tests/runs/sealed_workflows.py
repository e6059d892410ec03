"""Workflows that pass a payload through every place the SDK has for one. Not Interlock's: what the codec is told of a
payload's place is the SDK's to say, and must be the same for who writes it and who reads it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError
from temporalio.exceptions import TimeoutError as TimedOut

BRIEF = timedelta(seconds=20)


@activity.defn
async def echo(value: str) -> str:
    return f"{value} echoed"


@activity.defn
async def stumble(value: str) -> str:
    """Fails, and gives in the second attempt what the first has heartbeat."""
    details = activity.info().heartbeat_details
    if details:
        raise ApplicationError(f"{value} failed", *details, type="Stumbled", non_retryable=True)
    activity.heartbeat(f"{value} heartbeat")
    raise ApplicationError("again")


@activity.defn
async def hang(value: str) -> None:
    activity.heartbeat(f"{value} last words")
    await asyncio.sleep(30)


@workflow.defn
class Child:
    @workflow.run
    async def run(self, value: str) -> str:
        if value.startswith("bad"):
            raise ApplicationError(f"{value} failed", f"{value} details")
        return f"{value} grown"


@workflow.defn
class Parent:
    def __init__(self) -> None:
        self._heard: list[str] = []

    @workflow.signal
    def hear(self, value: str) -> None:
        self._heard.append(value)

    @workflow.update
    def tell(self, value: str) -> str:
        return f"{value} told"

    @workflow.query
    def recite(self, value: str) -> str:
        return f"{value} recited"

    @workflow.run
    async def run(self, value: str, other: str, found: dict[str, Any]) -> dict[str, Any]:
        if not found:
            await self._first(value, other)
        await workflow.wait_condition(lambda: len(self._heard) > 0)
        return {**found, "heard": self._heard, "memo": workflow.memo()}

    async def _first(self, value: str, other: str) -> None:
        workflow.upsert_memo({"upserted": value})
        workflow.set_current_details(f"{value} details")
        await workflow.get_external_workflow_handle(other).signal("hear", f"{value} from outside")
        await workflow.sleep(timedelta(milliseconds=10), summary=f"{value} asleep")
        result = {
            "echo": await workflow.execute_activity(echo, value, start_to_close_timeout=BRIEF, summary=value),
            "child": await workflow.execute_child_workflow(Child.run, value, id=f"{other}-good", memo={"of": value}),
            "failed": await self._failed(value),
            "hung": await self._hung(value),
            "bad": await self._bad(value, other),
        }
        workflow.continue_as_new(args=[value, other, result])

    async def _failed(self, value: str) -> list[str]:
        quick = RetryPolicy(initial_interval=timedelta(milliseconds=1), maximum_attempts=3)
        try:
            await workflow.execute_activity(stumble, value, start_to_close_timeout=BRIEF, retry_policy=quick)
        except ActivityError as error:
            return told(error)
        return []

    async def _hung(self, value: str) -> list[str]:
        short, once = timedelta(seconds=4), RetryPolicy(maximum_attempts=1)
        try:
            await workflow.execute_activity(hang, value, start_to_close_timeout=short, retry_policy=once)
        except ActivityError as error:
            return list(error.cause.last_heartbeat_details) if isinstance(error.cause, TimedOut) else []
        return []

    async def _bad(self, value: str, other: str) -> list[str]:
        try:
            await workflow.execute_child_workflow(Child.run, f"bad {value}", id=f"{other}-bad")
        except ChildWorkflowError as error:
            return told(error)
        return []


def told(error: ActivityError | ChildWorkflowError) -> list[str]:
    cause = error.cause
    return [cause.message, *cause.details] if isinstance(cause, ApplicationError) else []


@workflow.defn
class Listener:
    def __init__(self) -> None:
        self._heard = ""

    @workflow.signal
    def hear(self, value: str) -> None:
        self._heard = value

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: bool(self._heard))
        return self._heard


@workflow.defn
class Asker:
    @workflow.run
    async def run(self, value: str) -> list[str | None]:
        patient = RetryPolicy(initial_interval=timedelta(milliseconds=1), maximum_attempts=5)
        try:
            await workflow.execute_activity(echo, value, start_to_close_timeout=BRIEF, retry_policy=patient)
        except ActivityError as error:
            return [getattr(error.cause, "type", None), *told(error)]
        return []
