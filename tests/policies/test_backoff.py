from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import Retry
from interlock.policies.backoff import backoff, next_wait

RETRIES = st.builds(
    Retry,
    initial=st.floats(0.001, 100),
    factor=st.floats(1, 10),
    maximum=st.floats(0.001, 1000),
    jitter=st.floats(0, 1),
)
FULL = Retry(initial=1, factor=2, maximum=30, jitter=1)
HALF = Retry(initial=1, factor=2, maximum=30, jitter=0.5)
NONE = Retry(initial=1, factor=2, maximum=30, jitter=0)


@pytest.mark.parametrize(
    ("retry", "attempt", "draw", "seconds"),
    [
        (NONE, 1, 0.0, 1),
        (NONE, 2, 0.9, 2),
        (NONE, 5, 0.0, 16),
        (NONE, 6, 0.0, 30),
        (NONE, 10_000, 0.0, 30),
        (FULL, 1, 0.0, 0),
        (FULL, 3, 0.5, 2),
        (HALF, 3, 0.0, 2),
        (HALF, 3, 0.5, 3),
    ],
)
def test_waits(retry: Retry, attempt: int, draw: float, seconds: float) -> None:
    assert backoff(retry, attempt, draw) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("asked", "left", "wait"),
    [
        (None, None, 1),
        (5, None, 5),  # Retry-After is a lower bound
        (0.2, None, 1),
        (-3, None, 1),
        (None, 0.5, None),  # it would end after the time that is left
        (86_400, 60, None),  # a Retry-After of a day is not slept through
        (86_400, None, None),
        (600, None, 600),
        (None, 1, None),
        (None, 1.1, 1),
    ],
)
def test_retry_after_and_the_time_that_is_left(asked: float | None, left: float | None, wait: float | None) -> None:
    assert next_wait(NONE, 1, 0.5, asked=asked, left=left) == wait


@given(RETRIES, st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_never_longer_than_the_maximum_nor_shorter_than_the_jitter_allows(
    retry: Retry, attempt: int, draw: float
) -> None:
    ceiling = backoff(retry.model_copy(update={"jitter": 0.0}), attempt, 0.0)
    assert ceiling <= retry.maximum
    assert ceiling * (1 - retry.jitter) * 0.999 <= backoff(retry, attempt, draw) <= ceiling * 1.001


@given(RETRIES, st.integers(1, 50), st.floats(0, 1, exclude_max=True), st.floats(0, 1e5), st.floats(0, 1e5))
def test_no_wait_outlasts_the_time_or_comes_back_too_early(
    retry: Retry, attempt: int, draw: float, asked: float, left: float
) -> None:
    wait = next_wait(retry, attempt, draw, asked=asked, left=left)
    assert wait is None or asked <= wait < left
