"""What a run gives to the runs that it starts fits what remains, and what they used is charged, whatever happens."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from interlock.contracts import AgentResult, AgentTask, Limits, ParentRun, Usage
from interlock.policies import budget, children
from interlock.policies.budget import Kept, Refusal, Room
from interlock.policies.children import Ended, carve, told
from interlock.policies.limit import Spent
from tests.sizes import sized

PARENT = ParentRun(run="boss-1", call_id="s1c1", depth=1)


def limits(**fields: Any) -> Limits:
    return Limits.model_validate(fields)


def result(outcome: str, output: str = "", **fields: Any) -> AgentResult:
    return AgentResult.model_validate({"outcome": outcome, "output": output, "source": "model", **fields})


OWN = limits(usd="0.50", tokens=1000, steps=7, step_seconds=60, tool_calls=100, seconds=30)


@pytest.mark.parametrize(
    ("rooms", "seconds", "tool_calls", "among", "given"),
    [
        ([], None, None, 1, limits(usd="0.50", tokens=1000, tool_calls=100, seconds=30)),
        ([Room("", usd=Decimal("0.2"))], 10.5, 40, 1, limits(usd="0.2", tokens=1000, tool_calls=40, seconds=10.5)),
        ([Room("", usd=Decimal("0.2"))], 10.5, 40, 3, limits(usd="0.066666", tokens=1000, tool_calls=13, seconds=10.5)),
        ([Room("", tokens=1001)], None, None, 2, limits(usd="0.50", tokens=500, tool_calls=100, seconds=30)),
        ([Room("", usd=Decimal(9))], 99, -3, 1, limits(usd="0.50", tokens=1000, tool_calls=0, seconds=30)),
    ],
)
def test_what_is_given(
    rooms: list[Room], seconds: float | None, tool_calls: int | None, among: int, given: Any
) -> None:
    assert carve(OWN, rooms, seconds=seconds, tool_calls=tool_calls, among=among) == given


def test_where_nothing_is_limited_nothing_is_given_out() -> None:
    given = carve(Limits(), [], seconds=None, tool_calls=None, among=2)
    assert given == Limits()
    assert isinstance(given, Limits)
    assert children.committed(Spent(tokens=3), [given]) == Spent(tokens=3)


@pytest.mark.parametrize(
    ("rooms", "seconds"),
    [([Room("money", usd=Decimal(0))], 9.0), ([Room("tokens", tokens=-5)], None), ([], 0.0)],
)
def test_where_nothing_is_left_no_run_is_started(rooms: list[Room], seconds: float | None) -> None:
    assert isinstance(carve(OWN, rooms, seconds=seconds, tool_calls=None, among=1), Refusal)


def test_a_run_takes_what_it_is_given_where_a_person_would_be_refused() -> None:
    task = AgentTask(agent="a", input="i", limits=limits(usd="0.90", tokens=10))
    with pytest.raises(ValueError, match="may only tighten"):
        children.limits_of(OWN, task)
    theirs = children.limits_of(OWN, task.model_copy(update={"parent": PARENT}))
    assert theirs == OWN.model_copy(update={"tokens": 10})


def test_what_it_was_given_is_not_raised() -> None:
    task = AgentTask(agent="a", input="i", parent=PARENT)
    assert "part of what run boss-1 may use" in (children.not_its_own(task, limits(usd="9")) or "")
    assert children.not_its_own(task, limits(steps=9)) is None
    assert children.not_its_own(task.model_copy(update={"parent": None}), limits(usd="9")) is None


@pytest.mark.parametrize(("depth", "most", "may"), [(0, 3, True), (2, 3, True), (3, 3, False), (9, 3, False)])
def test_depth(depth: int, most: int, may: bool) -> None:
    assert (children.too_deep(depth, most) is None) == may


@pytest.mark.parametrize(
    ("ended", "said", "is_error"),
    [
        (Ended("result", result=result("completed", "42")), "42", False),
        (
            Ended("result", result=result("degraded", "41", reason="no time")),
            "41\n\n[a could not finish: no time]",
            False,
        ),
        (Ended("result", result=result("unavailable", "-", reason="down")), "ToolFailed: a is unavailable: down", True),
        (Ended("killed", "enough (by ops)"), "ToolFailed: a was killed: enough (by ops)", True),
        (Ended("refused", "UnknownAgent: x"), "ToolFailed: a could not begin: UnknownAgent: x", True),
        (Ended("cancelled"), "ToolFailed: a was cancelled. What it had done until then is not undone.", True),
    ],
)
def test_what_the_model_is_told(ended: Ended, said: str, is_error: bool) -> None:
    assert told("a", ended) == (said, is_error)


@pytest.mark.parametrize("how", ["failed", "lost"])
def test_one_without_a_word_may_have_done_anything(how: Any) -> None:
    said, is_error = told("a", Ended(how, "terminated"))
    assert (said.partition(":")[0], is_error) == ("ToolOutcomeUnknown", True)


def test_a_long_answer_is_cut() -> None:
    assert children.fitting("short", 10, "r") == "short"
    cut = children.fitting("é" * 300, 256, "boss-s1c1")
    assert cut.startswith("é" * 128 + "\n[cut: 600 bytes in all")
    assert "the result of run boss-s1c1" in cut


USD = st.sampled_from(["0.3", "1.0001", "4", "0.000003", "0"]).map(Decimal)
MAYBE_USD, MAYBE_TOKENS = st.none() | USD, st.none() | st.sampled_from([20_000, 3_001, 7, 0])
PART = st.fractions(min_value=0, max_value=1, max_denominator=8)


class OneFamily(RuleBasedStateMachine):
    """A run, those that it starts, what each is billed, and everything that may become of them, in any order."""

    @initialize(usd=USD, tokens=st.sampled_from([20_000, 100_001, 3, 0]), calls=st.integers(0, 50))
    def start(self, usd: Decimal, tokens: int, calls: int) -> None:
        self.limits = limits(usd=usd, tokens=tokens, tool_calls=calls)
        self.spent = Spent()
        self.billed = Usage()
        self.open: list[tuple[Limits, Usage, int]] = []

    def rooms(self, kept: Kept) -> list[Room]:
        return budget.rooms(self.limits, children.committed(self.spent, (given for given, _, _ in self.open)), kept)

    @rule(
        among=st.integers(1, 4), usd=MAYBE_USD, tokens=MAYBE_TOKENS, calls=st.none() | st.integers(0, 9), keep=USD,
    )  # fmt: skip
    def ask(self, among: int, usd: Decimal | None, tokens: int | None, calls: int | None, keep: Decimal) -> None:
        """As many as there are in one reply, one after the other: each a share of what the others have left."""
        for left in range(among, 0, -1):
            spent = children.committed(self.spent, (given for given, _, _ in self.open))
            given = carve(
                Limits(usd=usd, tokens=tokens, tool_calls=calls),
                self.rooms(Kept(usd=keep, tokens=50)),
                seconds=None,
                tool_calls=(self.limits.tool_calls or 0) - spent.tool_calls,
                among=left,
            )
            if isinstance(given, Limits):
                self.open.append((given, Usage(), 0))

    @rule(which=st.integers(0, 9), part=PART)
    def work(self, which: int, part: Any) -> None:
        """One of them is billed, inside what it was given: that it is, is the law of a single run."""
        if which < len(self.open):
            given, used, calls = self.open[which]
            money = ((given.usd or Decimal(0)) - used.usd) * part.numerator / part.denominator
            tokens = int(((given.tokens or 0) - used.tokens) * part)
            more = Usage(usd=money, input_tokens=tokens)
            self.billed += more
            self.open[which] = (given, used + more, calls + int(((given.tool_calls or 0) - calls) * part))

    @rule(which=st.integers(0, 9), how=st.sampled_from(["result", "killed", "cancelled", "lost", "failed"]))
    def end(self, which: int, how: Any) -> None:
        if which < len(self.open):
            given, used, calls = self.open.pop(which)
            said = None if how in ("lost", "failed") else result("completed", by_model={"p:m": used}, tool_calls=calls)
            charged = sum(children.charge("a", given, Ended(how, result=said)).values(), Usage())
            assert used.usd <= charged.usd <= (given.usd or 0)
            self.spent = Spent(
                usd=self.spent.usd + charged.usd,
                tokens=self.spent.tokens + charged.tokens,
                tool_calls=self.spent.tool_calls + (0 if said is None else said.tool_calls),
            )

    @rule(part=PART)
    def call(self, part: Any) -> None:
        """A call of its own, inside what nobody else was given."""
        money, tokens = (room for room in self.rooms(budget.NOTHING))
        more = Usage(
            usd=max(Decimal(0), money.usd or Decimal(0)) * part.numerator / part.denominator,
            input_tokens=int(max(0, tokens.tokens or 0) * part),
        )
        self.billed += more
        self.spent = Spent(
            usd=self.spent.usd + more.usd, tokens=self.spent.tokens + more.tokens, tool_calls=self.spent.tool_calls
        )

    @invariant()
    def billed_is_charged_and_all_that_is_given_out_is_within_the_limit(self) -> None:
        committed = children.committed(self.spent, (given for given, _, _ in self.open))
        used = sum((used for _, used, _ in self.open), Usage())
        assert self.billed.usd <= self.spent.usd + used.usd <= committed.usd <= (self.limits.usd or 0)
        assert self.billed.tokens <= self.spent.tokens + used.tokens <= committed.tokens <= (self.limits.tokens or 0)
        assert committed.tool_calls <= (self.limits.tool_calls or 0)


TestOneFamily = OneFamily.TestCase
TestOneFamily.settings = settings(max_examples=sized(200, 100), stateful_step_count=30, deadline=None, derandomize=True)
