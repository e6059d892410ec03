"""The kill switch's table: who is covered, what is remembered, and what workers are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from interlock.contracts import (
    BreakerSettings,
    FleetSettings,
    FleetState,
    Kill,
    KillOrder,
    Outcomes,
    Scope,
    Stopped,
    Sweep,
    parse,
)
from interlock.fleet import FleetView
from interlock.policies import ahead, breakers, fleet, room, switch

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def killed(*orders: tuple[Scope, str]) -> FleetState:
    state = FleetState()
    for scope, subject in orders:
        state = switch.kill(state, KillOrder(scope=scope, subject=subject, reason=f"{scope} {subject}", by="ops"), NOW)
    return state


def covering(
    told: FleetState | FleetView, run: str, user: str, since: datetime = NOW, begun: datetime | None = None
) -> Kill | None:
    return switch.covering(told.kills, told.released, switch.Asking(run, user, since, begun))


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
    found = covering(killed(*orders), run, user)
    assert (found.reason if found else None) == reason


def test_the_kill_of_a_run_covers_what_it_had_asked_for_and_not_another_run_of_its_id() -> None:
    state = killed(("run", "r1"), ("user", "ada"))
    later = NOW + timedelta(seconds=1)
    assert covering(state, "r1", "bob", NOW) is not None
    assert covering(state, "r1", "bob", later) is None
    assert covering(state, "r1", "ada", later) is not None
    again = switch.kill(state, KillOrder(scope="run", subject="r1"), later)
    assert covering(again, "r1", "bob", later) is not None


def test_a_run_that_tells_of_its_kill_again_is_counted_once() -> None:
    state = switch.count(killed(("run", "r1")), Stopped(scope="run", subject="r1", stopped=1, refused=2))
    later = NOW + timedelta(seconds=1)
    told = switch.kill(state, KillOrder(scope="run", subject="r1", run_knows=True), later).kills["run:r1"]
    assert (told.at, told.stopped, told.refused) == (later, 1, 2)


def test_an_order_given_twice_is_one_and_the_first_reason_stays() -> None:
    state = killed(("user", "ada"))
    again = switch.kill(state, KillOrder(scope="user", subject="ada", reason="another"), NOW)
    assert again is state


def test_a_release_lets_in_what_it_names_and_nothing_else() -> None:
    state = killed(("user", "ada"), ("user", "bob"), ("all", ""))
    after = switch.release(state, KillOrder(scope="user", subject="ada"), NOW)
    assert set(after.kills) == {"user:bob", "all"}
    assert switch.release(after, KillOrder(scope="user", subject="ada"), NOW) is after


def test_kills_of_runs_are_forgotten_by_age_and_number_and_those_of_users_never() -> None:
    state = killed(("user", "ada")).model_copy(update={"rules": FleetSettings(kept_seconds=60, kept_runs=3)})
    for number in range(5):
        order = KillOrder(scope="run", subject=f"r{number}")
        state = room.fit(switch.kill(state, order, NOW + timedelta(seconds=number)), NOW)
    assert list(state.kills) == ["user:ada", "run:r2", "run:r3", "run:r4"]
    assert list(fleet.settle(state, NOW + timedelta(seconds=63)).kills) == ["user:ada", "run:r4"]


def test_one_user_more_than_can_be_kept_is_refused_and_everything_can_still_be_killed() -> None:
    state = killed(("user", "ada")).model_copy(update={"rules": FleetSettings(kept_users=1)})
    refused = room.fit(switch.kill(state, KillOrder(scope="user", subject="bob"), NOW), NOW)
    assert (refused.kills, refused.no_room) == (state.kills, 1)
    assert "all" in room.fit(switch.kill(state, KillOrder(scope="all"), NOW), NOW).kills
    sweeping = switch.release(state, KillOrder(scope="user", subject="ada"), NOW)
    assert room.fit(switch.kill(sweeping, KillOrder(scope="user", subject="bob"), NOW), NOW).no_room == 1
    again = switch.kill(sweeping, KillOrder(scope="user", subject="ada"), NOW)
    assert room.fit(again, NOW) is again


def test_what_gates_did_is_counted_while_the_kill_is_in_force() -> None:
    state = killed(("user", "ada"))
    done = Stopped(scope="user", subject="ada", stopped=2, refused=3)
    after = switch.count(switch.count(state, done), done)
    assert (after.kills["user:ada"].stopped, after.kills["user:ada"].refused) == (4, 6)
    assert switch.count(state, Stopped(scope="user", subject="bob", stopped=1)) is state
    assert fleet.published(after) == fleet.published(state)  # nobody's gate needs to know


def test_what_workers_are_told_reads_back_as_the_state() -> None:
    state = killed(("run", "r/1"), ("user", "a/b:c"), ("all", ""))
    for _ in range(5):
        state = breakers.observe(state, Outcomes(dependency="openai:gpt/5", failures=1, error="500"), NOW)
    view = FleetView.of(fleet.published(state))
    assert set(view.kills) == {"run:r/1", "user:a/b:c", "all"}
    assert covering(view, "x", "a/b:c", NOW) is not None
    assert view.breaker("openai:gpt/5").state == "open"
    assert view.breaker("another").state == "closed"


def test_an_early_release_goes_on_ending_what_was_open_and_lets_in_what_is_new() -> None:
    late = switch.LATE
    soon, later = NOW + late / 2, NOW + 5 * late
    state = killed(("user", "ada"), ("user", "bob"))
    for released_at, last in ((soon, soon), (later, NOW + late)):
        after = switch.release(state, KillOrder(scope="user", subject="ada"), released_at)
        assert set(after.kills) == {"user:bob"}
        for told in (after, FleetView.of(fleet.published(after))):
            assert covering(told, "r1", "ada", later, begun=NOW - late) is not None
            assert covering(told, "r1", "ada", later, begun=last) is not None
            assert covering(told, "r1", "ada", later, begun=last + timedelta(microseconds=1)) is None
            assert covering(told, "r1", "zoe", later, begun=NOW) is None
        assert dict(switch.to_sweep(after))["user:ada"].released_at == released_at


def test_a_released_order_is_forgotten_with_the_end_of_its_sweep() -> None:
    state = killed(("all", ""), ("user", "ada"))
    assert [key for key, _ in switch.to_sweep(state)] == ["all", "user:ada"]
    of_all, of_ada = state.kills["all"], state.kills["user:ada"]
    done = switch.swept(state, "all", of_all, Sweep(done=True))
    assert [key for key, _ in switch.to_sweep(done)] == ["user:ada"]
    assert not switch.release(done, KillOrder(scope="all"), NOW).released  # all has ended by then
    after = switch.release(state, KillOrder(scope="user", subject="ada"), NOW)
    assert not switch.swept(after, "user:ada", of_ada, Sweep(done=True)).released
    again = switch.kill(after, KillOrder(scope="user", subject="ada"), NOW + timedelta(seconds=1))
    assert not again.released  # the new order covers whatever the old one did
    assert switch.swept(again, "user:ada", of_ada, Sweep(done=True)) is again  # and is swept by itself


def test_whatever_is_ordered_and_reported_fits_what_the_server_takes() -> None:
    """2 MiB for a memo and for the next execution's input each; it fails the workflow that wants more."""
    state, long = FleetState(), "é" * 490
    for number in range(330):
        order = KillOrder(scope="user", subject=f"{number}{long}", reason="\a" * 2000, by="é" * 200)
        state = switch.kill(state, order, NOW)
        state = switch.kill(state, order.model_copy(update={"scope": "run"}), NOW)
    for number in range(420):
        dependency = f"tool:{number}{'é' * 290}"
        if room.too_many_settings(state, dependency) is None:
            state = state.model_copy(update={"settings": {**state.settings, dependency: BreakerSettings()}})
        for minute in range(12):
            failed = Outcomes(dependency=dependency, failures=1, successes=1, error="é" * 500)
            state = breakers.observe(state, failed, NOW + timedelta(seconds=5 * minute))
    state = room.fit(switch.kill(state, KillOrder(scope="all", reason="ü" * 2000), NOW), NOW)
    assert len(state.kills) > 150
    assert "all" in state.kills
    assert state.no_room > 0
    assert 100 < len(state.settings) < len(state.breakers)
    around = 150  # what Temporal, and encryption, put around a value
    memo = sum(len(key.encode()) + len(to_json(each)) + around for key, each in fleet.published(state).items())
    assert memo < 2 * 1024 * 1024
    assert len(state.model_dump_json().encode()) < 2 * 1024 * 1024


def test_the_memo_says_enough_to_begin_again_with() -> None:
    state = killed(("run", "r1"), ("user", "ada"), ("all", ""))
    state = switch.release(state, KillOrder(scope="all"), NOW)
    state = state.model_copy(update={"settings": {"d": BreakerSettings(failure_threshold=2)}})
    for _ in range(2):
        state = breakers.observe(state, Outcomes(dependency="d", failures=1, error="500"), NOW)
    again = FleetView.of(fleet.published(state)).state()
    assert (again.kills, again.released, again.settings) == (state.kills, state.released, state.settings)
    assert breakers.views(again) == breakers.views(state)
    assert again.breakers["d"].state == "open"


def test_a_new_dependency_takes_the_place_of_one_that_has_been_well_for_longest() -> None:
    state = FleetState(rules=FleetSettings(kept_breakers=3))
    for name in ("well", "well before", "fails", "well"):
        state = breakers.observe(state, Outcomes(dependency=name, failures=1), NOW)
    later = NOW + timedelta(seconds=300)
    state = fleet.settle(breakers.observe(state, Outcomes(dependency="fails", failures=1), later), later)
    for name, kept in (("new", {"well", "fails", "new"}), ("newer", {"fails", "new", "newer"})):
        state = breakers.observe(state, Outcomes(dependency=name, failures=1), later)
        assert set(state.breakers) == kept
    full = breakers.observe(state, Outcomes(dependency="no room", failures=1), later)
    assert (full.breakers, full.no_room) == (state.breakers, 1)


def test_a_healthy_dependency_leaves_no_trace() -> None:
    state = FleetState()
    assert breakers.observe(state, Outcomes(dependency="a", successes=9), NOW) is state


SCOPES: st.SearchStrategy[Scope] = st.sampled_from(["run", "user", "all"])


@given(st.lists(st.tuples(st.booleans(), SCOPES, st.sampled_from(["x", "y"])), max_size=30))
def test_a_kill_is_in_force_from_its_order_to_its_release(steps: list[tuple[bool, Scope, str]]) -> None:
    state, model = FleetState(), set[str]()
    for kill, scope, subject in steps:
        order = KillOrder(scope=scope, subject=subject)
        key = switch.name(scope, subject)
        state = switch.kill(state, order, NOW) if kill else switch.release(state, order, NOW)
        model = model | {key} if kill else model - {key}
        assert set(state.kills) == model
        assert FleetState.model_validate_json(state.model_dump_json()) == state


@given(st.lists(st.tuples(st.booleans(), SCOPES, st.sampled_from(["x", "y"])), max_size=30), st.data())
def test_a_worker_obeys_what_the_switch_was_told_however_much_of_it_has_been_taken_in(
    steps: list[tuple[bool, Scope, str]], data: st.DataObject
) -> None:
    """Beyond that it obeys only what the switch still says is in force."""
    upto = data.draw(st.integers(0, len(steps)))
    state, sent, orders = FleetState(), set[str](), dict[str, Kill]()
    for number, (kill, scope, subject) in enumerate(steps):
        order, at = KillOrder(scope=scope, subject=subject), NOW + timedelta(seconds=number)
        key = switch.name(scope, subject)
        sent = sent | {key} if kill else sent - {key}
        orders = dict(ahead.told(orders, "kill" if kill else "release", order, at))
        if number < upto:
            take = switch.kill if kill else switch.release
            state = take(state, order, at + timedelta(milliseconds=5))
    obeyed = set(state.kills) | set(ahead.standing(orders, state.kills, state.released, NOW))
    assert obeyed - set(state.kills) <= sent <= obeyed
    if upto == len(steps):
        assert obeyed == sent == set(state.kills)
        assert not ahead.standing(orders, state.kills, state.released, NOW)


@pytest.mark.parametrize(("worked", "stands"), [(-3600, True), (0, True), (59, True), (60, False)])
def test_an_order_that_the_switch_passes_over_is_given_up_and_one_that_it_has_not_come_to_is_not(
    worked: float, stands: bool
) -> None:
    orders = ahead.told({}, "kill", KillOrder(scope="user", subject="ada"), NOW)
    assert bool(ahead.standing(orders, {}, {}, NOW + timedelta(seconds=worked))) is stands


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"scope": "planet", "subject": "x"}, "scope"),
        ({"scope": "user", "subject": " "}, "needs a subject: the id of the user"),
        ({"scope": "run"}, "needs a subject: the id of the run"),
        ({"scope": "all", "who": "me"}, "who: unknown field"),
        ({"scope": "run", "subject": "é" * 501}, "it has 1002 bytes; an id has 1000 at most"),
    ],
)
def test_a_wrong_order_is_refused_with_a_sentence(payload: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(KillOrder, payload)
