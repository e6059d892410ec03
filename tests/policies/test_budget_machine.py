"""One run, its provider and everything that may go wrong between them, in any order.

    what the provider billed  <=  what the run was charged  <=  its limit        in dollars and in tokens

The run's own state, its grants and its charges are the real ones. What is played is the provider, which bills as
its price list says, the server, which knows of attempts what it was told, and the workers, which are lost.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from temporalio.common import MetricMeter
from temporalio.exceptions import ActivityError

from interlock.contracts import (
    AgentSpec,
    AgentTask,
    AssistantMessage,
    Attempt,
    Bounds,
    Carried,
    Grant,
    Limits,
    LongContext,
    Message,
    ModelCall,
    ModelReply,
    Models,
    Price,
    Purpose,
    Retry,
    TextPart,
    ToolMessage,
    Transcript,
    UserMessage,
    size,
)
from interlock.policies import budget, charges, limit
from interlock.policies.budget import Refusal
from interlock.policies.freshness import still_open
from interlock.policies.prices import most
from interlock.telemetry.metrics import Instruments
from tests.policies.attempts import EIGHTHS, TRIES, TRY, Activity, Try
from tests.sizes import sized
from workflows import carrying, charging, failed_calls, grants
from workflows.run_state import Run
from workflows.seen import Told

MODELS = ("p:cheap", "p:dear")

RATE = st.one_of(st.just(Decimal(0)), st.integers(1, 15_000).map(lambda n: Decimal(n).scaleb(-3)))
MAYBE = st.none() | RATE
RATES: dict[str, Any] = {"input": RATE, "output": RATE, "cached_input": MAYBE, "cache_write": MAYBE}
TIERS = st.lists(st.builds(LongContext, above=st.integers(0, 3000), **RATES), max_size=2)
PRICE = st.builds(lambda long_context, **rates: Price(long_context=tuple(long_context), **rates), TIERS, **RATES)
USD = st.sampled_from(["0.3", "1.0001", "4", "0.02", "0.0007", "0"]).map(Decimal)
TOKENS = st.sampled_from([20_000, 100_001, 3_000, 200, 0])
LIMITS = st.one_of(
    st.builds(Limits, usd=USD), st.builds(Limits, tokens=TOKENS), st.builds(Limits, usd=USD, tokens=TOKENS)
)


def bill(price: Price, attempt: Attempt) -> Fraction:
    """What a provider asks for: its own arithmetic, not ours."""
    rates: Any = price
    for tier in sorted(price.long_context, key=lambda tier: tier.above):
        rates = tier if attempt.input_tokens > tier.above else rates
    cached = rates.input if rates.cached_input is None else rates.cached_input
    write = rates.input if rates.cache_write is None else rates.cache_write
    plain = attempt.input_tokens - attempt.cached_tokens - attempt.cache_write_tokens
    tokens = (plain, attempt.cached_tokens, attempt.cache_write_tokens, attempt.output_tokens)
    dollars = zip(tokens, (rates.input, cached, write, rates.output), strict=True)
    return sum((count * Fraction(rate) / 1_000_000 for count, rate in dollars), Fraction(0))


WINDOW, MARK = 80, 120
"""Bytes of a result's window when it is shown, and of the mark that it is past, which is added to an old message."""


@dataclass
class Provider:
    """Counts tokens, never more than there are bytes, and bills."""

    schema: int
    instructions: int
    tools: int
    said: int = 0
    windows: tuple[datetime, ...] = ()
    usd: Fraction = Fraction(0)
    tokens: int = 0

    def marks(self, call: ModelCall) -> int:
        """Results that earlier requests showed inside their window, and this one shows as past."""
        return MARK * (len(self.windows) - len(still_open(self.windows, (), call.at)))

    def shown(self, message: Message, call: ModelCall) -> int:
        if not isinstance(message, ToolMessage) or message.valid_until is None or call.at is None:
            return size(message)
        return size(message) + WINDOW + (MARK if message.valid_until < call.at else 0)

    def asked(self, run: Run, call: ModelCall, how: Try) -> Attempt:
        """Bill a request, and say what for."""
        margins = run.spec.bounds
        framed = sum(self.shown(message, call) + margins.message_margin for message in call.delta)
        least = self.instructions + self.said + self.marks(call) + (self.schema + self.tools if call.tools else 0)
        input_tokens = least + (framed + margins.request_margin) * how.input // 8
        output_tokens = call.grant.max_tokens * how.output // 8
        cached = input_tokens * how.cached // 8
        written = (input_tokens - cached) * how.output // 8
        attempt = Attempt(
            number=1, fate="billed", input_tokens=input_tokens, output_tokens=output_tokens,
            cached_tokens=cached, cache_write_tokens=written,
        )  # fmt: skip
        assert input_tokens <= call.grant.input_tokens, "the bound of the input does not hold"
        self.usd += bill(call.price, attempt)
        self.tokens += input_tokens + output_tokens
        return attempt


def unseen(run: Run) -> Run:
    """A run outside of a workflow, where nobody counts what it does."""
    run.told = Told(_instruments=Instruments(MetricMeter.noop))
    return run


class OneRun(RuleBasedStateMachine):
    @initialize(
        prices=st.tuples(PRICE, PRICE), limits=LIMITS, attempts=st.sampled_from([4, 3, 2, 1]),
        output=st.integers(1, 2000), instructions=st.integers(0, 400), schema=st.integers(0, 800), share=EIGHTHS,
        text=st.integers(1, 400),
    )  # fmt: skip
    def begin(
        self, *, prices: tuple[Price, Price], limits: Limits, attempts: int, output: int, instructions: int,
        schema: int, share: int, text: int,
    ) -> None:  # fmt: skip
        bounds = Bounds(final_output=128, tools_margin=200)
        spec = AgentSpec(
            name="a", instructions="i" * instructions, schema_bytes=schema, max_output_tokens=output, bounds=bounds,
            models=Models(simple=MODELS[0], medium=MODELS[0], complex=MODELS[1]), limits=limits,
            retry=Retry(attempts=attempts), prices=dict(zip(MODELS, prices, strict=True)),
        )  # fmt: skip
        self.run = unseen(Run.fresh(AgentTask(agent="a", input="t" * text)))
        self.run.resolve(spec, limits)
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.provider = Provider(schema * share // 8, instructions * share // 8, bounds.tools_margin * share // 8)

    def granted(self, model: str, purpose: Purpose) -> Grant | Refusal:
        """The grant, from a coroutine that has no shared account to wait for."""
        try:
            grants.grant(self.run, model, purpose, tools=purpose != "final").send(None)
        except StopIteration as done:
            answer: Grant | Refusal = done.value
            return answer
        raise AssertionError("a run without shared accounts waits for none")

    def call(self, model: str, purpose: Purpose, grant: Grant) -> ModelCall:
        run = self.run
        run.calls += 1
        return ModelCall(
            key=f"k{run.calls}", step=1, model=model, purpose=purpose, base=run.messages, delta=tuple(run.delta),
            tools=purpose != "final", grant=grant, price=run.spec.prices[model], at=self.now,
        )  # fmt: skip

    def take(self, call: ModelCall, tries: list[Try], text: int, *, usable: bool) -> None:
        """A turn, as ``workflows.model_turn`` takes it. Each call by itself is charged what it was billed: what one
        is charged too much must not hide what another is charged too little."""
        run, provider = self.run, self.provider
        usd, tokens = provider.usd, provider.tokens
        charging.sent(run, call)
        came = Activity(call.grant.attempts, lambda how: provider.asked(run, call, how)).run(tries)
        if isinstance(came, ActivityError):
            attempts, unreported = failed_calls.attempts_made(call, came)
            usage = charges.charge(call.price, call.grant, attempts, unreported=unreported)
        else:
            usage = charges.charge(call.price, call.grant, came)
        assert provider.usd - usd <= Fraction(usage.usd) <= call.grant.attempts * Fraction(call.grant.usd)
        assert provider.tokens - tokens <= usage.tokens
        charging.settled(run, call, usage)
        if usable and not isinstance(came, ActivityError):
            self.said(call, came, "r" * text)

    def said(self, call: ModelCall, came: list[Attempt], text: str) -> None:
        """The reply joins the conversation. Its tokens, and those of what it answers, are never more than were billed
        for them, and never more than there are bytes."""
        billed, provider = [attempt for attempt in came if attempt.fate == "billed"][-1], self.provider
        provider.said += provider.marks(call)
        provider.windows = still_open(provider.windows, call.delta, call.at)
        fixed = provider.instructions + provider.said + (provider.schema + provider.tools if call.tools else 0)
        message = AssistantMessage(provider="p", parts=(TextPart(text=text),))
        provider.said += min(sum(provider.shown(each, call) for each in call.delta), billed.input_tokens - fixed)
        provider.said += min(size(message), billed.output_tokens)
        reply = ModelReply(reply_id="r", message=message, finish="stop", model=call.model, attempts=tuple(came))
        self.run.said(call, reply)

    @rule(
        model=st.sampled_from(MODELS), grown=st.lists(st.integers(0, 600), max_size=3), tries=TRIES,
        text=st.integers(1, 3000), usable=st.integers(0, 5).map(bool), passed=st.integers(0, 40),
    )  # fmt: skip
    def turn(self, model: str, grown: list[int], tries: list[Try], *, text: int, usable: bool, passed: int) -> None:
        run = self.run
        self.now += timedelta(seconds=passed)
        run.delta += [self.told(length) for length in grown]
        grant = self.granted(model, "step")
        if isinstance(grant, Grant):
            self.check(grant, begun=run.messages > 0)
            self.take(self.call(model, "step", grant), tries, text, usable=usable)

    def told(self, length: int) -> Message:
        """A message of that length; some are results that are true for a while, some of them no longer."""
        if length % 2:
            return UserMessage(text="d" * length)
        until = self.now + timedelta(seconds=length % 50 - 10)
        return ToolMessage(call_id="c", tool="t", content="d" * length, observed_at=self.now, valid_until=until)

    def check(self, grant: Grant, *, begun: bool) -> None:
        """A grant fits the limits, and where a final answer could be given, what it needs is left over."""
        run, spent = self.run, self.run.usage
        cheapest = min(run.spec.prices.values(), key=lambda price: most(price, 1000, 1000))
        after, final = grant.input_tokens + run.spec.max_output_tokens, run.spec.bounds.final_output
        if run.limits.usd is not None:
            left = run.limits.usd - spent.usd - grant.attempts * grant.usd
            assert left >= (min(most(cheapest, after, final), run.limits.usd / 5) if begun else 0)
        if run.limits.tokens is not None:
            bound = grant.input_tokens + grant.max_tokens
            left_tokens = run.limits.tokens - spent.tokens - grant.attempts * bound
            assert left_tokens >= (min(after + final, run.limits.tokens // 5) if begun else 0)

    @precondition(lambda self: self.run.messages > 0)
    @rule(tries=TRIES, text=st.integers(1, 3000))
    def final(self, tries: list[Try], text: int) -> None:
        """A final answer is granted whenever the least of one fits what is left, of any model."""
        run, bounds = self.run, self.run.spec.bounds
        run.delta.append(UserMessage(text="Answer now."))
        delta, windows = sum(budget.sent_bytes(bounds, message) for message in run.delta), len(run.open_windows)
        for model in MODELS:
            known = run.last_tokens if run.last_model == model and run.last_tokens else None
            asked = budget.input_bound(
                bounds, run.bytes, delta, len(run.delta), known, tools=False, open_windows=windows
            )
            least = min(bounds.least_output, run.spec.max_output_tokens)
            usd, tokens = run.limits.usd, run.limits.tokens
            fits = usd is None or run.usage.usd + most(run.spec.prices[model], asked, least) <= usd
            fits = fits and (tokens is None or run.usage.tokens + asked + least <= tokens)
            grant = self.granted(model, "final")
            assert isinstance(grant, Grant) == fits
            if isinstance(grant, Grant):
                self.take(self.call(model, "final", grant), tries, text, usable=True)
                run.last_model = ""  # a real run ends here; no turn with tools follows one without
                return

    @rule(what=st.integers(0, 2), model=st.sampled_from(MODELS), raised=LIMITS, how=TRY)
    def disturb(self, what: int, model: str, raised: Limits, how: Try) -> None:
        """What happens now and then; one rule, so that turns come more often."""
        match what:
            case 0:
                self.abandon(model, how)
            case 1:
                carried = carrying.carry(self.run, Transcript(spec=self.run.spec)).model_dump_json()
                self.run = unseen(carrying.carried(Carried.model_validate_json(carried)))
            case _:
                with suppress(ValueError):
                    self.run.limits = limit.extend(self.run.limits, raised)

    def abandon(self, model: str, how: Try) -> None:
        """A run that is killed does not wait for a call that does not say how it ended."""
        grant = self.granted(model, "step")
        if isinstance(grant, Grant):
            call = self.call(model, "step", grant)
            charging.sent(self.run, call)
            for _ in range(grant.attempts):
                self.provider.asked(self.run, call, how)
            charging.settle_abandoned(self.run)

    @invariant()
    def billed_is_charged_and_charged_is_within_the_limit(self) -> None:
        spent, limits = self.run.usage, self.run.limits
        assert self.provider.usd <= Fraction(spent.usd)
        assert self.provider.tokens <= spent.tokens
        assert limits.usd is None or spent.usd <= limits.usd
        assert limits.tokens is None or spent.tokens <= limits.tokens
        assert 0 <= spent.usd_unsettled <= spent.usd


TestOneRun = OneRun.TestCase
TestOneRun.settings = settings(max_examples=sized(300, 100), stateful_step_count=40, deadline=None, derandomize=True)
