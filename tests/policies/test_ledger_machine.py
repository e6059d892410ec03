"""One shared account and many runs: asked twice, told late, out of order, or never.

what providers billed in a window  <=  spent + held        always
spent + held                       <=  the limit           after every grant
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from interlock.contracts import AccountLimit, LeaseRequest, LedgerState, Settlement, Window
from interlock.policies import leasing, ledger, windows
from tests.sizes import sized

ZERO = Decimal(0)
MONEY = st.integers(1, 60).map(lambda n: Decimal(n).scaleb(-2))
LIMIT = st.builds(
    AccountLimit,
    usd=st.sampled_from([0, 0.25, 1, 3, 10]).map(lambda usd: Decimal(str(usd))),
    window=st.sampled_from(get_args(Window)),
)

EIGHTHS = st.sampled_from([8, 4, 0, 1, 7])
SLOTS = st.integers(0, 2)
"""Three runs at a time: where one has ended, another begins. Ids are used again, executions never."""


@dataclass
class Holder:
    """A run, and what it counts on. ``charged``: what it has charged itself, never less than was billed."""

    name: str
    execution: str
    usd: Decimal = ZERO
    charged: Decimal = ZERO
    unsettled: Decimal = ZERO
    requests: list[LeaseRequest] = field(default_factory=list)
    reports: list[Settlement] = field(default_factory=list)
    ended: bool = False

    @property
    def key(self) -> str:
        return f"{self.name}/{self.execution}"


class OneAccount(RuleBasedStateMachine):
    @initialize(declared=LIMIT)
    def begin(self, declared: AccountLimit) -> None:
        self.declared = declared
        self.state = LedgerState(account="fleet")
        self.now = datetime(2028, 2, 27, 22, tzinfo=UTC)  # a leap year, and soon the end of a month
        self.bills: list[tuple[datetime, Fraction]] = []
        self.since: datetime | None = None
        self.slots = [Holder(name, f"{name}0") for name in "abc"]
        self.ended: list[Holder] = []
        self.granted = ZERO

    @property
    def total(self) -> Decimal:
        return self.state.spent_usd + ledger.held(self.state)

    def roll(self) -> None:
        before = ledger.held(self.state)
        self.state = ledger.roll(self.state, self.now)
        assert ledger.held(self.state) == before, "a new window forgets what is held"
        if self.state.limit is not None:
            start = windows.window_start(self.state.limit.window, self.now)
            # Never back: what an earlier, shorter window has forgotten stays forgotten.
            self.since = max(filter(None, (start, self.since)), default=None)

    def end(self, slot: int) -> None:
        run = self.slots[slot]
        run.ended = True
        self.ended.append(run)
        self.slots[slot] = Holder(run.name, f"{run.name}{len(self.ended)}")

    def any(self, which: int) -> Holder:
        return [*self.slots, *self.ended][which % (3 + len(self.ended))]

    @rule(slot=SLOTS, usd=MONEY, enough=EIGHTHS, least=EIGHTHS, heard=st.booleans())
    def ask(self, slot: int, usd: Decimal, enough: int, least: int, heard: bool) -> None:
        run = self.slots[slot]
        request = LeaseRequest(
            run=run.name, execution=run.execution, usd=usd, enough=usd * enough / 8, at_least=usd * enough * least / 64,
            key=f"{run.key}-{len(run.requests)}", number=len(run.requests) + 1, spent_usd=run.charged,
            limit_usd=self.declared.usd, window=self.declared.window,
        )  # fmt: skip
        run.requests.append(request)
        run.usd = run.charged  # until it is answered it counts on nothing
        self.lease(run, request, heard=heard)

    @rule(slot=SLOTS, usd=MONEY, share=EIGHTHS, billed=EIGHTHS)
    def turn(self, slot: int, usd: Decimal, share: int, billed: int) -> None:
        self.ask(slot, usd, 4, 4, heard=True)
        self.spend(slot, share, billed)

    @rule(slot=SLOTS, usd=MONEY, share=EIGHTHS)
    def overtake(self, slot: int, usd: Decimal, share: int) -> None:
        """A run gives up a dear request, goes on from a cheaper one, and then the first arrives once more."""
        self.ask(slot, usd, 8, 8, heard=False)
        self.ask(slot, usd / 4, 4, 4, heard=True)
        self.lease(self.slots[slot], self.slots[slot].requests[-2], heard=False)
        self.spend(slot, share, 8)

    @rule(slot=SLOTS)
    def try_again(self, slot: int) -> None:
        """Another attempt of a request whose answer was lost, or to come again."""
        run = self.slots[slot]
        if run.requests and run.usd == run.charged == run.requests[-1].spent_usd:
            self.lease(run, run.requests[-1], heard=True)

    @rule(who=st.integers(0, 9), which=st.integers(0, 9))
    def arrive_late(self, who: int, which: int) -> None:
        """An attempt that nobody waits for any more; perhaps long after the run has ended."""
        run = self.any(who)
        if run.requests:
            self.lease(run, run.requests[which % len(run.requests)], heard=False)

    def lease(self, run: Holder, request: LeaseRequest, *, heard: bool) -> None:
        held = self.state.leases.get(run.key)
        known = held.keys.get(request.key) if held else None
        self.state, reply = leasing.lease(self.state, request, self.now)
        self.roll()
        assert ZERO <= reply.granted_usd <= request.usd
        assert known is None or reply.granted_usd == known, "the same request, another answer"
        assert known is not None or reply.granted_usd == 0 or reply.held_usd >= run.charged + request.at_least
        assert not (reply.busy and reply.granted_usd)
        assert run.key not in self.state.closed or run.key not in self.state.leases, "a lease of a run that has ended"
        if known is None and reply.granted_usd:
            assert self.state.limit is not None
            assert self.total <= self.state.limit.usd
            self.granted += reply.granted_usd
        if heard and not (reply.busy and request.enough):
            run.usd = max(reply.held_usd, run.charged)

    @rule(slot=SLOTS, share=EIGHTHS, billed=EIGHTHS)
    def spend(self, slot: int, share: int, billed: int) -> None:
        """A call: charged no more than there is, billed no more than is charged."""
        run = self.slots[slot]
        charged = (run.usd - run.charged) * share / 8
        run.charged += charged
        run.unsettled += charged if billed < 8 else ZERO
        self.bills.append((self.now, Fraction(charged) * billed / 8))

    @rule(slot=SLOTS, closed=st.booleans(), heard=st.booleans())
    def report(self, slot: int, closed: bool, heard: bool) -> None:
        """What a run tells: so far, or at its end. It may come late, or twice."""
        run = self.slots[slot]
        told = Settlement(
            run=run.name, execution=run.execution, spent_usd=run.charged, unsettled_usd=run.unsettled, closed=closed
        )
        run.reports.append(told)
        if closed:
            self.end(slot)
        if heard:
            self.settle(run, told)

    @rule(slot=SLOTS, audited=st.booleans())
    def vanish(self, slot: int, audited: bool) -> None:
        """Terminated: it tells nobody, and what it was granted without hearing of it is still held."""
        self.end(slot)
        if audited:
            self.audit()

    @rule(who=st.integers(0, 9), which=st.integers(0, 9))
    def tell_again(self, who: int, which: int) -> None:
        run = self.any(who)
        if run.reports:
            self.settle(run, run.reports[which % len(run.reports)])

    def settle(self, run: Holder, told: Settlement) -> None:
        self.roll()
        before, lease = self.total, self.state.leases.get(run.key)
        spent = self.state.spent_usd
        self.state, _ = ledger.settle(self.state, told, self.now)
        if lease is None:
            assert self.total == before, "old news"
        elif told.closed:
            known = max(lease.spent_usd, told.spent_usd)
            assert self.state.spent_usd == spent + known
            assert self.total == before - max(lease.usd, lease.spent_usd) + known
        else:
            assert self.total >= before
            assert self.state.spent_usd == spent, "only the last report releases a lease"

    @rule(what=st.sampled_from(["audit", "audit", "wait", "limit", "declare", "continue"]), slot=SLOTS, limit=LIMIT)
    def disturb(self, what: str, slot: int, limit: AccountLimit) -> None:
        """What happens now and then; one rule, so that the others come more often."""
        match what:
            case "audit":
                self.audit()
            case "wait":
                self.now += timedelta(hours=(1, 24 * 3, 24 * 40)[slot])
                self.roll()
            case "limit":
                self.set_limit(limit)
            case "declare":  # another release of the agent, which says so with its next request
                self.declared = limit
            case "continue":
                carried = LedgerState.model_validate_json(self.state.model_dump_json())
                assert carried == self.state
                self.state = carried

    def audit(self) -> None:
        self.roll()
        before, gone = self.total, [run.key for run in self.ended]
        self.state = ledger.charge_gone(self.state, gone)
        assert self.total == before, "a lease of a run that is gone is charged in full"
        assert not set(gone) & set(self.state.leases)

    def set_limit(self, limit: AccountLimit) -> None:
        """Up or down, another window or the same: nothing is taken back or forgotten."""
        self.roll()
        before = self.total
        self.state = ledger.set_limit(self.state, limit, self.now)
        self.roll()
        assert self.state.limit == limit
        assert self.total == before

    @invariant()
    def billed_in_the_window_is_spent_or_held(self) -> None:
        seen = ledger.status(self.state, self.now)
        billed = sum((usd for at, usd in self.bills if self.since is None or at >= self.since), Fraction(0))
        assert billed <= Fraction(seen.spent_usd) + Fraction(seen.leased_usd)
        assert ZERO <= seen.unsettled_usd <= seen.spent_usd
        assert self.total <= self.granted, "more is charged than was ever granted"


TestOneAccount = OneAccount.TestCase
TestOneAccount.settings = settings(
    max_examples=sized(300, 100), stateful_step_count=40, deadline=None, derandomize=True
)
