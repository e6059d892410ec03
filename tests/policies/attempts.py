"""``activities.model`` and the server, played: attempts of one call, each with a fate, and who hears of it.

What cannot be known is left out here and told in ``docs/budgets.md``: two attempts in a row that die before
their first heartbeat, of a call whose time then runs out, or before one that fails without a word.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, TimeoutType
from temporalio.exceptions import TimeoutError as TimedOut

from interlock.contracts import Attempt
from interlock.policies import charges

# answered  billed, and the run is told               late      billed, journaled after the next attempt looked
# lost      billed and journaled, then not reported   gone      billed, and the worker with its journal is gone
# unsent    the worker died before it sent            refused   not billed, to be tried again
# silent    sent, no answer, billed or not            rejected  not billed, for good
# stopped   cancelled while it ran, billed or not     mute      billed, and an error that says nothing of attempts
OFTEN = ("answered", "lost", "late", "gone", "unsent", "refused", "silent")
SELDOM = ("rejected", "stopped", "mute")
LOST = ("lost", "late", "gone", "unsent")
BILLED = ("answered", "lost", "late", "gone", "mute")
SHARES = (8, 4, 0, 1, 7)
EIGHTHS = st.sampled_from(SHARES)


@dataclass(frozen=True)
class Try:
    """What becomes of one attempt. Shares are in eighths of what is possible at most."""

    end: str
    host: int  # whose journal
    heard: bool  # its first heartbeat reached the server
    settled: bool  # of an attempt that failed: the server was told how
    billed: bool  # of one whose fate nobody knows
    time_up: bool  # no further attempt: the run's time is over
    reset: bool  # an operator resets the activity: the server counts attempts from 1 again
    input: int
    output: int
    cached: int


_CHOICES: tuple[Sequence[object], ...] = (
    [*OFTEN * 2, "answered", *SELDOM], (0, 1), *[(False, True)] * 3, *[(False,) * 7 + (True,)] * 2, *[SHARES] * 3,
)  # fmt: skip


def _chosen(number: int) -> Try:
    """One draw for all that an attempt is: ten draws would take most of the time of a test."""
    picked = []
    for choices in _CHOICES:
        number, index = divmod(number, len(choices))
        picked.append(choices[index])
    return Try(*picked)  # type: ignore[arg-type]


TRY = st.integers(0, math.prod(map(len, _CHOICES)) - 1).map(_chosen)
TRIES = st.lists(TRY, min_size=6, max_size=6)

Came = list[Attempt] | ActivityError


@dataclass
class Activity:
    """One call: attempt after attempt, until one is reported or none is left. ``told``: the last heartbeat."""

    granted: int
    ask: Callable[[Try], Attempt]
    told: list[Attempt] = field(default_factory=list)
    journals: tuple[list[list[Attempt]], list[list[Attempt]]] = field(default_factory=lambda: ([], []))
    late: list[tuple[int, list[Attempt]]] = field(default_factory=list)

    def run(self, tries: list[Try]) -> Came:
        number, began, how = 0, 0, tries[0]
        for how in tries:
            number, began = number + 1, began + 1
            came = self.attempt(number, how, last=number == self.granted)
            if came is not None:
                return came
            if how.time_up and began - len(self.told) <= 1:
                return self.timed_out(TimeoutType.SCHEDULE_TO_CLOSE)
            if how.reset and len(self.told) == began:
                number = 0
            elif number == self.granted:
                break
        return self.timed_out(TimeoutType.HEARTBEAT if how.heard else TimeoutType.START_TO_CLOSE)

    def attempt(self, number: int, how: Try, *, last: bool) -> Came | None:
        """As ``ModelActivity`` does it; ``None``: the server tries again."""
        earlier = charges.with_untold(self.told, number, self.granted)
        journal = self.journals[how.host]
        found = journal[-1] if journal and earlier else None
        for host, answer in self.late:
            self.journals[host].append(answer)
        self.late.clear()
        if found is not None:
            return None if how.end in LOST else charges.joined(found, earlier)
        if charges.may_be_billed(earlier) >= self.granted:
            return failed(ApplicationError("used up", earlier, type="BudgetExceeded"))
        attempts = [*earlier, Attempt(number=number, fate="unknown")]
        # After a reset nothing is sent before the attempt is on record.
        if how.heard or any(attempt.number == number for attempt in self.told):
            self.told = attempts
        return self.asked(how, earlier, attempts, last=last)

    def asked(self, how: Try, earlier: list[Attempt], attempts: list[Attempt], *, last: bool) -> Came | None:
        if how.end in BILLED or (how.end in ("silent", "stopped") and how.billed):
            answered = [*earlier, self.ask(how).model_copy(update={"number": attempts[-1].number})]
        else:
            answered = [*earlier, attempts[-1].model_copy(update={"fate": "unbilled"})]
        match how.end:
            case "answered":
                return answered
            case "lost":
                self.journals[how.host].append(answered)
            case "late":
                self.late.append((how.host, answered))
            case "stopped":
                return failed(CancelledError("cancelled", attempts) if how.settled else CancelledError("cancelled"))
            case "mute" if not earlier:
                return failed(ApplicationError("mute"))
            case "refused" | "rejected":
                self.told = answered if how.settled else self.told
                if last or how.end == "rejected":
                    return failed(ApplicationError("refused", answered, type="ModelRejected"))
            case "silent" if last:
                return failed(ApplicationError("no answer", attempts, type="ModelTimeout"))
        return None

    def timed_out(self, kind: TimeoutType) -> ActivityError:
        return failed(TimedOut("lost", type=kind, last_heartbeat_details=[self.told] if self.told else []))


def failed(cause: BaseException) -> ActivityError:
    """As a workflow is told that an activity failed."""
    error = ActivityError(
        "failed", scheduled_event_id=1, started_event_id=2, identity="", activity_type="model", activity_id="1",
        retry_state=None,
    )  # fmt: skip
    error.__cause__ = cause
    return error
