"""What tokens cost. Dollars are ``Decimal`` from the price list to the bill; nothing is ever a float."""

from __future__ import annotations

from decimal import Decimal

from interlock.contracts import Attempt, Price, Rates

MILLION = Decimal(1_000_000)


def rates(price: Price, input_tokens: int) -> Rates:
    """The rates of a request with that much input. Crossing a threshold changes the price of all its tokens."""
    reached = [tier for tier in price.long_context if input_tokens > tier.above]
    return max(reached, key=lambda tier: tier.above, default=price)


def cost(price: Price, attempt: Attempt) -> Decimal:
    """Dollars of one billed attempt. Cached and cache-written tokens are part of the input, at their own rate."""
    at = rates(price, attempt.input_tokens)
    cached_rate = at.input if at.cached_input is None else at.cached_input
    write_rate = at.input if at.cache_write is None else at.cache_write
    plain = attempt.input_tokens - attempt.cached_tokens - attempt.cache_write_tokens
    dollars = (
        max(plain, 0) * at.input
        + attempt.cached_tokens * cached_rate
        + attempt.cache_write_tokens * write_rate
        + attempt.output_tokens * at.output
    )
    return dollars / MILLION


def most(price: Price, input_tokens: int, output_tokens: int) -> Decimal:
    """The most a request of at most these sizes can cost: the dearest rates it may reach, nothing from a cache."""
    reachable = [price, *(tier for tier in price.long_context if input_tokens > tier.above)]
    dearest_input = max(max(at.input, at.cached_input or at.input, at.cache_write or at.input) for at in reachable)
    dearest_output = max(at.output for at in reachable)
    return (input_tokens * dearest_input + output_tokens * dearest_output) / MILLION
