"""A run at an open circuit breaker: which models are down, and the wait for the first to come back. And one whose
worker cannot know what is killed, which lets nothing out either."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from interlock.policies.routing import until_retry
from workflows.run_state import Run


@dataclass
class Circuits:
    """The open breakers that one turn has met, by model, with when each may be tried again."""

    open: dict[str, datetime] = field(default_factory=dict)
    waited: float = 0.0

    def met(self, run: Run, model: str, error: ActivityError) -> None:
        """Remember the breaker when that is what a call of ``model`` failed at."""
        if (retry_at := met(run, model, error)) is not None:
            self.open[model] = retry_at

    async def wait(self, run: Run, left: float | None, failed: dict[str, str]) -> bool:
        """Wait, durably, for the first breaker that may be tried, and let its models be asked again. ``False``: none is
        open, or the run has not the time. A pause ends the wait: its time does not count, and it may be long."""
        run.go_on()
        patience = run.spec.bounds.breaker_wait - self.waited if left is None else left
        delay = until_retry(run.spec.bounds, self.open, workflow.now(), workflow.random().random(), patience)
        if delay is None:
            return False
        run.enter("waiting_breaker")
        began, models = workflow.now(), ", ".join(sorted(self.open))
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: run.paused is not None,
                timeout=delay,
                timeout_summary=f"waiting for the circuit breaker of {models}",
            )
        self.waited += (workflow.now() - began).total_seconds()
        if run.paused is None:
            run.enter("running")
        for model in self.open:
            failed.pop(model, None)
        self.open = {}
        return True


def met(run: Run, what: str, error: ActivityError) -> datetime | None:
    """Let the run's status say so, when a breaker is what a call failed at; from when on it may be tried again."""
    if (retry_at := retry_time(error)) is not None:
        run.circuits[what] = f"open until {retry_at:%H:%M:%S} UTC"
    return retry_at


def retry_time(error: ActivityError) -> datetime | None:
    """When the breaker that a call met may be tried again, or a worker that did not hear of the switch; ``None``: it
    failed of something else."""
    match error.cause:
        case ApplicationError(type="CircuitOpen" | "FleetUnreachable", details=details):
            told = next((each for each in details if isinstance(each, dict) and "retry_at" in each), None)
            # One that does not say is asked again in a while.
            return workflow.now() + timedelta(seconds=1) if told is None else datetime.fromisoformat(told["retry_at"])
        case _:
            return None
