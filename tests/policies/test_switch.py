"""The kill switch's table: who is covered, what is remembered, and what workers are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.contracts import FleetSettings, FleetState, KillOrder, Outcomes, Scope, Stopped, parse
from interlock.fleet import FleetView
from interlock.policies import fleet

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def killed(*orders: tuple[Scope, str]) -> FleetState:
    state = FleetState()
    for scope, subject in orders:
        state = fleet.kill(state, KillOrder(scope=scope, subject=subject, reason=f"{scope} {subject}", by="ops"), NOW)
    return state


@pytest.mark.parametrize(
    ("orders", "run", "user", "reason"),
    [
        ([], "r1", "ada", None),
        ([("run", "r1")], "r1", "ada", "run r1"),
        ([("run", "r1")], "r2", "ada", None),
        ([("user", "ada")], "r1", "ada", "user ada"),
        ([("user", "ada")], "r1", "bob", None),
        ([("run", "ada")], "r1", "ada", None),
        ([("user", "r1")], "r1", "ada", None),
        ([("run", "r1"), ("user", "ada"), ("all", "")], "r1", "ada", "all "),
        ([("all", "")], "r9", "zoe", "all "),
    ],
)
def test_the_widest_order_that_covers_a_run(
    orders: list[tuple[Scope, str]], run: str, user: str, reason: str | None
) -> None:
    found = fleet.covering(killed(*orders).kills, run, user, NOW)
    assert (found.reason if found else None) == reason


def test_the_kill_of_a_run_covers_what_it_had_asked_for_and_not_another_run_of_its_id() -> None:
    state = killed(("run", "r1"), ("user", "ada"))
    later = NOW + timedelta(seconds=1)
    assert fleet.covering(state.kills, "r1", "bob", NOW) is not None
    assert fleet.covering(state.kills, "r1", "bob", later) is None
    assert fleet.covering(state.kills, "r1", "ada", later) is not None
    again = fleet.kill(state, KillOrder(scope="run", subject="r1"), later)
    assert fleet.covering(again.kills, "r1", "bob", later) is not None


def test_a_run_that_tells_of_its_kill_again_is_counted_once() -> None:
    state = fleet.count(killed(("run", "r1")), Stopped(scope="run", subject="r1", stopped=1, refused=2))
    later = NOW + timedelta(seconds=1)
    told = fleet.kill(state, KillOrder(scope="run", subject="r1", run_knows=True), later).kills["run:r1"]
    assert (told.at, told.stopped, told.refused) == (later, 1, 2)


def test_an_order_given_twice_is_one_and_the_first_reason_stays() -> None:
    state = killed(("user", "ada"))
    again = fleet.kill(state, KillOrder(scope="user", subject="ada", reason="another"), NOW)
    assert again is state


def test_a_release_lets_in_what_it_names_and_nothing_else() -> None:
    state = killed(("user", "ada"), ("user", "bob"), ("all", ""))
    after = fleet.release(state, KillOrder(scope="user", subject="ada"))
    assert set(after.kills) == {"user:bob", "all"}
    assert fleet.release(after, KillOrder(scope="user", subject="ada")) is after


def test_kills_of_runs_are_forgotten_by_age_and_number_and_those_of_users_never() -> None:
    state = killed(("user", "ada")).model_copy(update={"rules": FleetSettings(kept_seconds=60, kept_runs=3)})
    for number in range(5):
        order = KillOrder(scope="run", subject=f"r{number}")
        state = fleet.kill(state, order, NOW + timedelta(seconds=number))
    assert list(state.kills) == ["user:ada", "run:r2", "run:r3", "run:r4"]
    assert list(fleet.settle(state, NOW + timedelta(seconds=63)).kills) == ["user:ada", "run:r4"]


def test_one_user_more_than_can_be_kept_is_refused_and_everything_can_still_be_killed() -> None:
    state = killed(("user", "ada")).model_copy(update={"rules": FleetSettings(kept_users=1)})
    assert fleet.kill(state, KillOrder(scope="user", subject="bob"), NOW) is state
    assert "all" in fleet.kill(state, KillOrder(scope="all"), NOW).kills


def test_what_gates_did_is_counted_while_the_kill_is_in_force() -> None:
    state = killed(("user", "ada"))
    done = Stopped(scope="user", subject="ada", stopped=2, refused=3)
    after = fleet.count(fleet.count(state, done), done)
    assert (after.kills["user:ada"].stopped, after.kills["user:ada"].refused) == (4, 6)
    assert fleet.count(state, Stopped(scope="user", subject="bob", stopped=1)) is state
    assert fleet.published(after) == fleet.published(state)  # nobody's gate needs to know


def test_what_workers_are_told_reads_back_as_the_state() -> None:
    state = killed(("run", "r/1"), ("user", "a/b:c"), ("all", ""))
    for _ in range(5):
        state = fleet.observe(state, Outcomes(dependency="openai:gpt/5", failures=1, error="500"), NOW)
    view = FleetView.of(fleet.published(state))
    assert set(view.kills) == {"run:r/1", "user:a/b:c", "all"}
    assert fleet.covering(view.kills, "x", "a/b:c", NOW) is not None
    assert view.breaker("openai:gpt/5").state == "open"
    assert view.breaker("another").state == "closed"


def test_dependencies_beyond_what_can_be_kept_are_passed_over() -> None:
    state = FleetState(rules=FleetSettings(kept_breakers=2))
    for name in ("a", "b", "c", "a"):
        state = fleet.observe(state, Outcomes(dependency=name, failures=1), NOW)
    assert {name: each.failures for name, each in state.breakers.items()} == {"a": 2, "b": 1}


def test_a_healthy_dependency_leaves_no_trace() -> None:
    state = FleetState()
    assert fleet.observe(state, Outcomes(dependency="a", successes=9), NOW) is state


SCOPES: st.SearchStrategy[Scope] = st.sampled_from(["run", "user", "all"])


@given(st.lists(st.tuples(st.booleans(), SCOPES, st.sampled_from(["x", "y"])), max_size=30))
def test_a_kill_is_in_force_from_its_order_to_its_release(steps: list[tuple[bool, Scope, str]]) -> None:
    state, model = FleetState(), set[str]()
    for kill, scope, subject in steps:
        order = KillOrder(scope=scope, subject=subject)
        key = fleet.name(scope, subject)
        state = fleet.kill(state, order, NOW) if kill else fleet.release(state, order)
        model = model | {key} if kill else model - {key}
        assert set(state.kills) == model
        assert FleetState.model_validate_json(state.model_dump_json()) == state


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"scope": "planet", "subject": "x"}, "scope"),
        ({"scope": "user", "subject": " "}, "needs a subject: the id of the user"),
        ({"scope": "run"}, "needs a subject: the id of the run"),
        ({"scope": "all", "who": "me"}, "who: unknown field"),
    ],
)
def test_a_wrong_order_is_refused_with_a_sentence(payload: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(KillOrder, payload)
