"""How a run is seen from outside: its lines and counters. ``around`` has its spans.

It watches: nothing here changes what a run does, and nothing is told again on replay. The logger and the meter are
the SDK's, which are silent then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opentelemetry.trace import INVALID_SPAN, Span
from temporalio import workflow

from interlock.contracts import Attempt, Note, State, Usage
from interlock.policies.budget import Refusal
from interlock.policies.limit import Spent
from interlock.telemetry import names, traces
from interlock.telemetry.metrics import Instruments

if TYPE_CHECKING:
    from workflows.run_state import Run

MILLION = 1_000_000


@dataclass
class Told:
    """What was told of a run already. It begins anew with each execution, and needs nothing that is carried over."""

    span: Span = INVALID_SPAN
    spent: Spent = field(default_factory=Spent)
    state: State = "starting"
    _instruments: Instruments | None = None

    @property
    def instruments(self) -> Instruments:
        if self._instruments is None:
            self._instruments = Instruments(workflow.metric_meter())
        return self._instruments

    def entered(self, run: Run, state: State) -> None:
        """The run is in another state now."""
        before, self.state = self.state, state
        if state == "paused" and before != "paused":
            tell(names.RUN_PAUSED, **_said(run.paused))
        elif before == "paused" and state not in ("paused", "closed"):
            tell(names.RUN_RESUMED, **_said(run.resumed))

    def charged(self, run: Run, model: str, usage: Usage) -> None:
        """A call's fate is known, and this is what it is charged."""
        add = self.instruments.add
        add(names.TOKENS, usage.input_tokens, model=model, direction="input")
        add(names.TOKENS, usage.output_tokens, model=model, direction="output")
        add(names.TOKENS, usage.cached_tokens, model=model, direction="cached")
        add(names.COST, round(usage.usd * MILLION), agent=agent_of(run), model=model)

    def attempted(self, model: str, attempts: Iterable[Attempt], unreported: int = 0) -> None:
        """The attempts of a call, and how many more there may have been that nobody told of."""
        lost = unreported
        for attempt in attempts:
            self.instruments.add(names.ATTEMPTS, model=model, fate=attempt.fate)
            lost += attempt.fate == "unknown"
        self.instruments.add(names.ATTEMPTS_LOST, lost, model=model)  # none too: its series has to begin at zero

    def refused(self, run: Run, refusal: Refusal) -> None:
        """A limit did not afford a call of a model."""
        self.instruments.add(names.GRANTS_REFUSED, agent=agent_of(run), limit=refusal.limit)


def tell(event: str, **fields: object) -> None:
    """A line of the run. Who it is about is added where lines are rendered."""
    workflow.logger.info(event, extra=fields)


def warn(event: str, **fields: object) -> None:
    workflow.logger.warning(event, extra=fields)


def fields_of(run: Run) -> dict[str, object]:
    """What each line of a run says: whose it is."""
    info = workflow.info()
    fields: dict[str, object] = {
        "run_id": info.workflow_id,
        "user_id": run.task.user_id,
        "agent": run.task.agent,
        "step": run.step,
        "attempt": info.attempt,
    }
    traced = traces.trace_id(run.told.span) if run.told.span is not INVALID_SPAN else None
    return fields if traced is None else {**fields, "trace_id": traced}


def _said(note: Note | None) -> dict[str, str]:
    return {"reason": note.reason, "by": note.by} if note is not None else {"reason": "", "by": ""}


def agent_of(run: Run) -> str:
    """A label: what a task calls its agent is anybody's word until a worker knows it."""
    return run.spec.name if run.resolved else "unknown"
