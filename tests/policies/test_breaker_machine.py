"""One breaker and a fleet that reports late, twice, out of order or never, and whose probes' holders die.

Beside it stands a naive model that keeps every batch and tries every order of its outcomes. It knows what must open
the breaker and what may; between the two is only what a slice of the window forgets early.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import combinations, groupby

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from interlock.contracts import Breaker, BreakerSettings, BreakerView, Outcomes
from interlock.policies.breaker import TRANSITIONS, acquire, admits, report, settle, view
from tests.sizes import sized

SETTINGS = st.builds(
    BreakerSettings,
    failure_threshold=st.sampled_from([3, 1, 2, 5, 30]),
    failure_rate=st.sampled_from([0.5, 0.1, 1.0]),
    least_calls=st.sampled_from([20, 1, 6]),
    window_seconds=st.sampled_from([60.0, 7.0]),
    window_slices=st.sampled_from([12, 1, 3]),
    recovery_seconds=st.sampled_from([30.0, 1.0]),
    recovery_factor=st.sampled_from([2.0, 1.0, 3.7]),
    recovery_max=st.sampled_from([100.0, 30.0]),
    successes_to_close=st.sampled_from([1, 2, 3]),
)

FEW = st.sampled_from([1, 0, 2, 3, 5])
SECONDS = st.sampled_from([0.2, 1.0, 6.0, 31.0, 61.0])
FAR = timedelta(days=1)
SUCCESSES_ONLY = (Outcomes(dependency="m", successes=1), Outcomes(dependency="m", successes=1000))


@cache
def certain_row(before: int, failures: int, successes: int) -> int:
    """The longest row of failures that there is in every order of a batch, after ``before`` failures."""
    total = failures + successes
    return min(
        max(len(list(row)) for failed, row in groupby(order) if failed) if True in order else 0
        for chosen in combinations(range(total), successes)
        for order in [[True] * before + [n not in chosen for n in range(total)]]
    )


@dataclass(frozen=True)
class Try:
    generation: int
    until: datetime
    over: bool = False


@dataclass
class Model:
    """A closed breaker: each batch since it closed, and the failures since the last success."""

    batches: list[tuple[datetime, int, int]] = field(default_factory=list)
    in_a_row: int = 0

    def memories(self, rules: BreakerSettings, now: datetime) -> Iterator[list[tuple[datetime, int, int]]]:
        """What it may remember: certainly what is a slice younger than the window, certainly nothing older than it."""
        window, sure = rules.window_seconds, rules.window_seconds * (1 - 1 / rules.window_slices)
        for start in range(len(self.batches) + 1):
            forgotten, kept = self.batches[:start], self.batches[start:]
            if any((now - at).total_seconds() < sure for at, _, _ in forgotten):
                return
            if all((now - at).total_seconds() < window for at, _, _ in kept):
                yield kept

    def verdicts(self, rules: BreakerSettings, failures: int, successes: int, now: datetime) -> set[bool]:
        """Whether this batch opens it, by each thing that it may remember."""
        return {
            failures > 0 and (self.row(kept, failures, successes) >= rules.failure_threshold or rate(rules, batches))
            for kept in self.memories(rules, now)
            for batches in [[*kept, (now, failures, successes)]]
        }

    def row(self, kept: list[tuple[datetime, int, int]], failures: int, successes: int) -> int:
        return certain_row(self.in_a_row if any(failed for _, failed, _ in kept) else 0, failures, successes)


def rate(rules: BreakerSettings, batches: list[tuple[datetime, int, int]]) -> bool:
    failed, calls = sum(f for _, f, _ in batches), sum(f + s for _, f, s in batches)
    return calls >= rules.least_calls and failed / calls >= rules.failure_rate


class OneBreaker(RuleBasedStateMachine):
    @initialize(rules=SETTINGS)
    def begin(self, rules: BreakerSettings) -> None:
        self.terms = rules
        self.now = datetime(2028, 2, 28, 23, 59, tzinfo=UTC)
        self.breaker = Breaker()
        self.model = Model()
        self.tries: list[Try] = []
        self.openings = 0
        self.seen: set[int] = set()
        """Generations that are over."""

    # -- what the fleet does --

    @rule(failures=FEW, successes=FEW, named=st.booleans(), wait=st.sampled_from([0.0, 0.2]))
    def calls(self, failures: int, successes: int, named: bool, wait: float) -> None:
        """A batch of calls that were admitted in this generation."""
        self.wait(wait)
        generation = self.breaker.generation if named else None
        self.told(Outcomes(dependency="m", failures=failures, successes=successes, generation=generation))

    @rule(burst=st.sampled_from([1, 2, 5]), mixed=st.booleans())
    def outage(self, burst: int, mixed: bool) -> None:
        """Failures only, but for an answer that was under way when it began."""
        self.told(Outcomes(dependency="m", failures=burst, successes=int(mixed), error="503"))

    @rule(back=st.integers(1, 4), failures=FEW, successes=FEW, probe=st.booleans())
    def late(self, back: int, failures: int, successes: int, probe: bool) -> None:
        """Outcomes of calls that were admitted in an earlier generation."""
        generation = max(0, self.breaker.generation - back)
        if generation in self.seen:
            stale = Outcomes(dependency="m", failures=failures, successes=successes, generation=generation, probe=probe)
            assert report(self.terms, self.breaker, stale, self.now) is self.breaker

    @rule(seconds=SECONDS, early=st.booleans())
    def ask(self, seconds: float, early: bool) -> None:
        """A worker asks to be the one that tries: now, or when it makes sense to."""
        may = admits(view(self.breaker), self.now)
        if isinstance(may, datetime) and not early:
            self.now = may
        self.acquire(seconds)

    def acquire(self, seconds: float) -> None:
        before, until = self.breaker, self.now + timedelta(seconds=seconds)
        may = admits(view(before), self.now)
        after, reply = acquire(self.terms, before, "w", until, self.now)
        assert reply.granted == (may == "probe"), "the worker's mirror says another thing than the fleet"
        assert reply.generation == after.generation
        if not reply.granted:
            assert after is before
            assert reply.retry_at == (None if may == "call" else may)
            return
        assert not [one for one in self.tries if not one.over and one.until > self.now], "two live probes"
        assert before.state != "closed"
        assert before.retry_at is not None
        assert before.retry_at <= self.now, "too early"
        assert after.generation == before.generation + 1
        assert after.successes == (0 if before.state == "open" else before.successes)
        self.tries = [*self.tries[-3:], Try(after.generation, until)]
        self.become(after)

    @rule(which=st.integers(0, 3), result=st.sampled_from(["success", "success", "failure", "neither"]))
    def tried(self, which: int, result: str) -> None:
        """A holder says what came of it: the last one, or one that was believed dead; perhaps twice."""
        if not self.tries:
            return
        index = -1 - which % len(self.tries)
        mine = self.tries[index]
        before = self.breaker
        outcomes = Outcomes(
            dependency="m", failures=int(result == "failure"), successes=int(result == "success"),
            generation=mine.generation, probe=True,
        )  # fmt: skip
        after = report(self.terms, before, outcomes, self.now)
        if mine.over or index != -1:
            assert after is before, "a try counts once, and only the last one"
            return
        self.tries[index] = Try(mine.generation, mine.until, over=True)
        assert after.probe is None
        if result == "failure":
            assert after.state == "open"
        elif result == "neither" or before.successes + 1 < self.terms.successes_to_close:
            assert after.state == "half_open"
            assert (after.recovery, after.generation) == (before.recovery, before.generation)
            assert after.successes == before.successes + (result == "success")
        else:
            assert after.state == "closed"
        self.become(after)

    @precondition(lambda self: self.breaker.state != "closed")
    @rule(
        results=st.lists(st.sampled_from(["success", "success", "success", "failure", "neither", "death"]), max_size=6)
    )
    def tries_in_order(self, results: list[str]) -> None:
        for result in results:
            self.ask(6.0, early=False)
            self.ask(6.0, early=False)
            if result != "death":
                self.tried(0, result)

    # -- what time and people do --

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def settle(self) -> None:
        self.become(settle(self.terms, self.breaker, self.now))

    @rule(what=st.sampled_from(["continue", "continue", "configure"]), rules=SETTINGS)
    def disturb(self, what: str, rules: BreakerSettings) -> None:
        """Now and then; a closed breaker is not configured anew, because the model does not know of two windows."""
        if what == "continue":
            carried = Breaker.model_validate_json(self.breaker.model_dump_json())
            assert carried == self.breaker
            self.breaker = carried
        elif self.breaker.state != "closed":
            self.terms = rules

    # -- what must hold at each step --

    def told(self, outcomes: Outcomes) -> None:
        before = self.breaker
        after = report(self.terms, before, outcomes, self.now)
        settled = settle(self.terms, before, self.now)
        assert report(self.terms, settled, outcomes, self.now) == after, "how often it is settled decides"
        if before.state != "closed":
            assert after is before, "only a probe moves it"
            return
        verdicts = self.model.verdicts(self.terms, outcomes.failures, outcomes.successes, self.now)
        assert (after.state == "open") in verdicts
        if after.state == "closed":
            rows = {self.model.row(kept, outcomes.failures, 0) for kept in self.model.memories(self.terms, self.now)}
            assert after.failures in ({0} if outcomes.successes else rows)
            self.model.in_a_row = after.failures
            self.model.batches.append((self.now, outcomes.failures, outcomes.successes))
        self.become(after)

    def become(self, after: Breaker) -> None:
        """Each step is a row of the table, or stays where it is."""
        before, self.breaker = self.breaker, after
        moved = after.generation - before.generation
        assert moved in (0, 1)
        if before.state != after.state:
            assert moved == 1
            assert (before.state, after.state) in {(was, now) for (was, _), now in TRANSITIONS.items()}
        if moved:
            self.seen.add(before.generation)
        if before.state != "open" and after.state == "open":
            self.openings += 1
            low, high = min(self.terms.recovery_seconds, self.terms.recovery_max), self.terms.recovery_max
            grown = before.recovery * self.terms.recovery_factor
            assert low <= after.recovery <= high
            assert after.recovery == min(max(grown, low), high)
            assert (after.opened_at, after.retry_at) == (self.now, self.now + timedelta(seconds=after.recovery))
        if before.state != "closed" and after.state == "closed":
            self.model = Model()
            assert after == Breaker(generation=after.generation, error=after.error, opened=self.openings)

    @invariant()
    def openings_are_counted(self) -> None:
        assert self.breaker.opened == self.openings

    @invariant()
    def what_belongs_to_another_state_is_empty(self) -> None:
        closed, half_open = self.breaker.state == "closed", self.breaker.state == "half_open"
        assert closed or (self.breaker.failures, self.breaker.window) == (0, ())
        assert half_open or (self.breaker.successes, self.breaker.probe) == (0, None)
        assert closed == (self.breaker.retry_at is None) == (self.breaker.recovery == 0)
        assert len(self.breaker.window) <= self.terms.window_slices

    @invariant()
    def enough_failures_in_a_row_open_it(self) -> None:
        if self.breaker.state != "closed":
            return
        one, breaker = Outcomes(dependency="m", failures=1), self.breaker
        for _ in range(self.terms.failure_threshold):
            breaker = report(self.terms, breaker, one, self.now) if breaker.state == "closed" else breaker
        at_once = Outcomes(dependency="m", failures=self.terms.failure_threshold)
        assert breaker.state == report(self.terms, self.breaker, at_once, self.now).state == "open"

    @invariant()
    def successes_never_open_it(self) -> None:
        for outcomes in SUCCESSES_ONLY:
            state = report(self.terms, self.breaker, outcomes, self.now).state
            assert state == self.breaker.state

    @invariant()
    def nothing_blocks_it_for_ever(self) -> None:
        """Who comes back when told is granted the probe after two refusals at most, whoever has died."""
        now, asked = self.now, 0
        while not acquire(self.terms, self.breaker, "w", now + FAR, now)[1].granted:
            may = admits(view(self.breaker), now)
            if may == "call":
                return
            assert isinstance(may, datetime)
            assert may > now
            now, asked = may, asked + 1
        assert asked <= 2

    @invariant()
    def settling_twice_is_settling_once(self) -> None:
        settled = settle(self.terms, self.breaker, self.now)
        assert settle(self.terms, settled, self.now) is settled
        assert settled.state == self.breaker.state
        long_after = settle(self.terms, self.breaker, self.now + FAR)
        assert not view(long_after).watched
        assert (long_after.failures, long_after.window) == (0, ())

    @invariant()
    def the_view_survives_the_wire(self) -> None:
        seen = view(self.breaker)
        assert BreakerView.model_validate_json(seen.model_dump_json()) == seen


TestOneBreaker = OneBreaker.TestCase
TestOneBreaker.settings = settings(
    max_examples=sized(400, 100), stateful_step_count=40, deadline=None, derandomize=True
)
