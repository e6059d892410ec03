"""A breaker that is open or half open, by tables: who may try, and what comes of it."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from interlock.contracts import Breaker, Circuit, Probe
from interlock.policies import breaker as policy
from interlock.policies.breaker import acquire
from tests.policies.circuits import CLOSED, HALF_OPEN, NOW, OPEN, SETTINGS, after, granted, judged, set_to, told

# -- open -> half_open --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("breaker", "at", "retry_at"),
    [
        (CLOSED, 0, None),
        (OPEN, 0, 30),
        (OPEN, 29.9, 30),
        (HALF_OPEN, 30, 60),  # one recovery after the probe began
        (HALF_OPEN, 59.9, 60),
        (HALF_OPEN, 60, 95),  # it takes long: when its lease ends
        (HALF_OPEN, 94.9, 95),
    ],
)
def test_not_granted(breaker: Breaker, at: float, retry_at: float | None) -> None:
    same, reply = acquire(SETTINGS, breaker, "other", after(at + 65), after(at))
    assert same is breaker
    assert (reply.granted, reply.generation) == (False, breaker.generation)
    assert reply.retry_at == (None if retry_at is None else after(retry_at))


def test_the_lease_of_a_short_call_is_when_to_come_back() -> None:
    breaker = granted(OPEN, at=30, lease=10)
    assert acquire(SETTINGS, breaker, "other", after(100), after(31))[1].retry_at == after(40)


def test_granted() -> None:
    assert Breaker(
        state="half_open", generation=2, recovery=30, opened_at=NOW, retry_at=after(60),
        probe=Probe(worker="w", until=after(95)), error="503", opened=1,
    ) == HALF_OPEN  # fmt: skip


def test_a_probe_whose_holder_died_is_granted_again_and_its_outcome_ignored() -> None:
    breaker = granted(HALF_OPEN, at=95)
    assert (breaker.state, breaker.generation, breaker.opened) == ("half_open", 3, 1)
    for failures, successes in [(1, 0), (0, 1), (0, 0)]:
        assert told(breaker, failures, successes, probe=True, generation=2) is breaker
    assert judged(breaker, 0, 1).state == "closed"


def test_a_late_outcome_counts_while_nobody_else_tries() -> None:
    assert judged(HALF_OPEN, 0, 1, at=500).state == "closed"


# -- half_open -> closed, open, half_open -------------------------------------------------------------------


def test_a_probe_that_succeeds_closes_and_forgets() -> None:
    again = granted(judged(HALF_OPEN, 1, at=40), at=100)
    assert judged(again, 0, 1, at=101) == Breaker(generation=5, error="503", opened=2)


def test_a_probe_that_fails_opens_for_longer() -> None:
    breaker, waits = OPEN, []
    now = 30.0
    for _ in range(7):
        breaker = judged(granted(breaker, at=now), 1, at=now + 2)
        assert breaker.opened_at == after(now + 2)
        assert breaker.retry_at is not None
        waits.append((breaker.retry_at - after(now + 2)).total_seconds())
        now += 2 + waits[-1]
    assert waits == [60, 120, 240, 480, 600, 600, 600]
    assert (breaker.opened, breaker.generation, breaker.probe) == (8, 15, None)


def test_one_failure_is_enough() -> None:
    assert judged(HALF_OPEN, 1, 5, at=31).state == "open"


def test_several_tries_one_after_the_other() -> None:
    settings = set_to(successes_to_close=2)
    one = judged(HALF_OPEN, 0, 7, at=31, settings=settings)  # one call, whatever it says
    assert (one.state, one.successes, one.probe, one.retry_at) == ("half_open", 1, None, after(31))
    assert judged(one, 0, 1, at=31, settings=settings) is one, "told twice"
    failed = judged(granted(one, at=31), 1, at=32, settings=settings)
    assert (failed.state, failed.successes, failed.recovery) == ("open", 0, 60)
    two = judged(granted(one, at=31), 0, 1, at=32, settings=settings)
    assert (two.state, two.successes) == ("closed", 0)


def test_a_probe_that_cannot_tell_is_free_at_once() -> None:
    settings = set_to(successes_to_close=2)
    one = granted(judged(HALF_OPEN, 0, 1, at=31, settings=settings), at=32)
    breaker = judged(one, at=33, settings=settings)
    assert (breaker.state, breaker.successes, breaker.probe, breaker.recovery) == ("half_open", 1, None, 30)
    assert breaker.retry_at == after(33)
    assert judged(one, at=33, settings=SETTINGS).state == "half_open", "nothing succeeded: nothing closes"
    assert granted(breaker, at=33).generation == one.generation + 1


def test_half_open_hears_its_probe_only() -> None:
    assert told(HALF_OPEN, 9, generation=2) is told(HALF_OPEN, 0, 9) is HALF_OPEN
    assert told(HALF_OPEN, 0, 1, probe=True).state == "closed"  # no generation: the present one's


@pytest.mark.parametrize(("failures", "successes", "probe"), [*product([0, 9], [0, 9], [False, True])])
def test_open_hears_nothing(failures: int, successes: int, probe: bool) -> None:
    for generation in (None, 0, 1, 2):
        assert told(OPEN, failures, successes, probe=probe, generation=generation, at=100) is OPEN


@pytest.mark.parametrize("breaker", [CLOSED.model_copy(update={"generation": 2}), OPEN, HALF_OPEN])
def test_another_generation_is_not_heard(breaker: Breaker) -> None:
    for generation, probe in product((0, breaker.generation - 1, breaker.generation + 1), (False, True)):
        assert told(breaker, 9, 0, generation=generation, probe=probe) is breaker
        assert told(breaker, 0, 9, generation=generation, probe=probe) is breaker


def test_this_generation_is_heard() -> None:
    breaker = CLOSED.model_copy(update={"generation": 2})
    assert told(breaker, 5, generation=2).state == "open"


def test_each_state_has_its_rows() -> None:
    assert {state for state, _ in policy.TRANSITIONS} == set(get_args(Circuit))
    assert {event for _, event in policy.TRANSITIONS} == set(get_args(policy.Event))
    assert [now for (was, _), now in policy.TRANSITIONS.items() if was == "open"] == ["half_open"]
