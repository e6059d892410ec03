"""The time that a run has worked: what its limit on seconds is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from temporalio import workflow


@dataclass
class WorkClock:
    """Seconds a run has worked. It stands still while the run waits for people."""

    before: float = 0.0
    since: datetime | None = None

    def start(self) -> None:
        self.since = self.since or workflow.now()

    def stop(self) -> None:
        self.before, self.since = self.seconds, None

    @property
    def seconds(self) -> float:
        running = 0.0 if self.since is None else (workflow.now() - self.since).total_seconds()
        return self.before + running
