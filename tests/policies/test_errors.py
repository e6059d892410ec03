"""The table of failures, as a table."""

from __future__ import annotations

from typing import get_args

import pytest

from interlock.errors import NEVER_RETRIED, TABLE, Action, Kind, action_for, kind_of_status

EXPECTED: dict[str, Action] = {
    "ModelRateLimited": "retry",
    "ModelOverloaded": "retry",
    "ModelUnavailable": "retry",
    "ModelTimeout": "retry",
    "ModelReplyInvalid": "retry",
    "ToolFailed": "retry",
    "AccountBusy": "retry",
    "FleetUnreachable": "retry",
    "ModelRejected": "route_around",
    "CircuitOpen": "route_around",
    "ToolArgumentsInvalid": "route_around",
    "UnknownTool": "route_around",
    "ToolOutcomeUnknown": "route_around",
    "ToolInputStale": "route_around",
    "BudgetExceeded": "give_up",
    "CallStopped": "give_up",
    "RunKilled": "give_up",
    "InvalidTask": "give_up",
    "AgentElsewhere": "retry",
    "UnknownAgent": "give_up",
    "UnpricedModel": "give_up",
    "TranscriptMismatch": "give_up",
    "Unreadable": "give_up",
}


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_has_the_action_that_is_documented(kind: Kind) -> None:
    assert TABLE[kind] == EXPECTED[kind] == action_for(kind)
    assert (kind in NEVER_RETRIED) == (EXPECTED[kind] != "retry")


def test_the_table_holds_every_kind_and_nothing_else() -> None:
    assert set(TABLE) == set(get_args(Kind)) == set(EXPECTED)


@pytest.mark.parametrize("error_type", ["ConnectionError", "PayloadsTooLarge", "", None])
def test_what_is_not_ours_is_left_to_the_policy(error_type: str | None) -> None:
    assert action_for(error_type) == "retry"
    assert "PayloadsTooLarge" in NEVER_RETRIED


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (400, "bad request", "ModelRejected"),
        (401, "", "ModelRejected"),
        (402, "", "ModelRejected"),
        (403, "", "ModelRejected"),
        (404, "model not found", "ModelRejected"),
        (408, "", "ModelTimeout"),
        (409, "", "ModelUnavailable"),
        (413, "", "ModelRejected"),
        (422, "", "ModelRejected"),
        (425, "", "ModelUnavailable"),
        (429, "slow down", "ModelRateLimited"),
        (429, "Rate limit reached; see https://example.com/account/billing", "ModelRateLimited"),
        (429, "insufficient_quota", "ModelRejected"),
        (429, "You exceeded your current quota, check your plan and billing details", "ModelRejected"),
        (429, "monthly spend limit reached", "ModelRejected"),
        (500, "", "ModelUnavailable"),
        (502, "", "ModelUnavailable"),
        (503, "", "ModelUnavailable"),
        (503, "Overloaded", "ModelOverloaded"),
        (504, "", "ModelTimeout"),
        (529, "", "ModelOverloaded"),
        (599, "", "ModelUnavailable"),
    ],
)
def test_statuses(status: int, said: str, kind: Kind) -> None:
    assert kind_of_status(status, said) == kind
