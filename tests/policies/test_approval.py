"""Who must decide, and whose answer counts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.contracts import AgentSpec, Decided, Decision, Models, PendingApproval, ToolSpec
from interlock.policies import approval, outcomes

NOW = datetime(2026, 11, 23, 5, 2, 41, tzinfo=UTC)
AGENT = AgentSpec(name="a", instructions="", models=Models.one("p:m"))


def spec(**options: object) -> ToolSpec:
    return ToolSpec.model_validate({"name": "send", "description": "", "parameters": {}, **options})


def pending(call_id: str = "s1c1", **options: object) -> PendingApproval:
    fields = {"call_id": call_id, "tool": "send", "arguments": "{}", "since": NOW, "arguments_hash": "abc", **options}
    return PendingApproval.model_validate(fields)


@pytest.mark.parametrize(
    ("tool", "said", "why"),
    [
        (spec(), None, None),
        (spec(), "whatever a worker says", None),
        (spec(approval="always"), None, "every call of send needs approval"),
        (spec(approval="always"), "", "every call of send needs approval"),
        (spec(approval="predicate"), "more than 100", "more than 100"),
        (spec(approval="predicate"), "", None),
        (spec(approval="predicate"), None, "the worker could not ask send whether it needs approval"),
    ],
)
def test_who_must_decide(tool: ToolSpec, said: str | None, why: str | None) -> None:
    assert approval.needed(tool, said) == why


def test_how_long_is_waited() -> None:
    assert approval.expires(AGENT, spec(), NOW) == NOW + timedelta(days=1)
    assert approval.expires(AGENT, spec(approval_timeout=60), NOW) == NOW + timedelta(seconds=60)


BY_ANN = Decided(call_id="s1c1", verdict="approved", at=NOW, by="ann", reason="go")
EXPIRED = Decided(call_id="s1c1", verdict="expired", at=NOW)


@pytest.mark.parametrize(
    ("waiting", "decided", "hashed", "refused"),
    [
        ([pending()], [], None, None),
        ([pending()], [], "abc", None),
        ([pending()], [BY_ANN], "abc", None),  # another call of the same name, after a reset
        ([pending()], [], "abd", "is for other arguments (abd)"),
        ([pending()], [], "", "is for other arguments ()"),
        ([], [], None, "no call 's1c1' waits for a decision in this run; waiting: nothing"),
        ([pending("s2c1")], [], None, "waiting: s2c1 send"),
        ([pending("s1c1-outcome")], [], "abc", "no call 's1c1' waits"),
        ([], [BY_ANN], None, "call 's1c1' was already approved by ann at 2026-11-23 05:02:41 UTC: go"),
        ([], [EXPIRED], None, "already rejected: nobody had decided by 2026-11-23 05:02:41 UTC"),
    ],
)
def test_whose_answer_counts(
    waiting: list[PendingApproval], decided: list[Decided], hashed: str | None, refused: str | None
) -> None:
    decision = Decision(call_id="s1c1", approve=True, arguments_hash=hashed)
    said = approval.refusal({each.call_id: each for each in waiting}, decided, decision)
    assert (said is None) == (refused is None)
    assert refused is None or refused in (said or "")


@given(st.text(), st.text(), st.text(), st.text())
def test_a_hash_is_of_one_tool_and_its_arguments(tool: str, arguments: str, other: str, others: str) -> None:
    same = (tool, arguments) == (other, others) or "\x00" in tool + other
    hashed = approval.arguments_hash(tool, arguments)
    assert same or hashed != approval.arguments_hash(other, others)
    assert hashed == approval.arguments_hash(tool, arguments)


def test_the_commands_are_the_ones_to_type() -> None:
    yes, no = approval.commands("it's a run", pending())
    assert (yes, no) == ("interlock approve 'it'\"'\"'s a run' s1c1", "interlock reject 'it'\"'\"'s a run' s1c1")


def test_the_timer_says_how_to_decide_where_there_is_room() -> None:
    assert approval.timer("r", pending()) == "waiting for approval of send · interlock approve r s1c1"
    assert approval.timer("é" * 200, pending()) == "waiting for approval of send"


@given(
    st.text(alphabet=st.one_of(st.sampled_from('\u202e\u200b\u00a0"\\`'), st.characters(codec="utf-8")), max_size=40)
)
def test_what_is_shown_for_a_decision_is_the_same_json_with_nothing_hidden(text: str) -> None:
    asked = json.dumps({"to": text}, ensure_ascii=False)
    shown = approval.visible(asked)
    assert json.loads(shown) == json.loads(asked)
    assert shown.isprintable()


def test_what_the_model_is_told_of_a_rejection() -> None:
    rejected = BY_ANN.model_copy(update={"verdict": "rejected", "reason": "not now"})
    assert approval.rejected("send", rejected) == "Not run: ann rejected send: not now."
    assert approval.rejected("send", EXPIRED) == "Not run: nobody approved send in time."


@pytest.mark.parametrize(
    ("verifies", "tool_says", "agent_says", "asked", "step"),
    [
        (False, None, "tell", (), "tell"),
        (False, None, "ask", (), "ask"),
        (False, "tell", "ask", (), "tell"),
        (False, "ask", "tell", (), "ask"),
        (False, "ask", "tell", ("ask",), "tell"),
        (True, None, "tell", (), "verify"),
        (True, "ask", "tell", (), "verify"),
        (True, None, "tell", ("verify",), "tell"),
        (True, None, "ask", ("verify",), "ask"),
        (True, "ask", "tell", ("verify", "ask"), "tell"),
    ],
)
def test_who_is_asked_what_became_of_a_write(
    *, verifies: bool, tool_says: str | None, agent_says: str, asked: tuple[outcomes.Next, ...], step: str
) -> None:
    agent = AGENT.model_copy(update={"on_unknown": agent_says})
    assert outcomes.next_step(agent, spec(verifies=verifies, on_unknown=tool_says), asked) == step


def test_what_is_told_of_an_unknown_fate_says_so_once() -> None:
    known = f"ToolOutcomeUnknown: send did not finish. {outcomes.UNKNOWN}"
    assert outcomes.told(known) == known
    assert outcomes.told("ToolFailed: x") == f"ToolOutcomeUnknown: ToolFailed: x {outcomes.UNKNOWN}"
