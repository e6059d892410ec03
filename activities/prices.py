"""What a model costs: its provider's own word first, then ``genai-prices``, offline.

Read in an activity, so that the price a run was charged at is in its history.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice, Tier, TieredPrices

from activities.providers import Providers
from interlock.contracts import LongContext, Price

# Interlock's name of a provider -> genai-prices' name of it, where they differ.
_LISTED_AS = {"openai-chat": "openai", "openai-responses": "openai", "google-gla": "google", "google-vertex": "google"}

_FIELDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
}

# What some models are charged for besides: no token count bounds it, so such a model needs a price of its agent's.
_BESIDES = ("requests_kcount", "output_reasoning_mtok", "output_citation_mtok")


def price_of(model: str, providers: Providers) -> Price | None:
    """Dollars per million tokens; ``None``: nobody knows."""
    own = providers.of(model).price(model)
    return own if own is not None else _listed(model)


def _listed(model: str) -> Price | None:
    provider, _, name = model.partition(":")
    try:
        _, info = get_snapshot().find_provider_model(name, None, _LISTED_AS.get(provider, provider), None)
    except LookupError:
        return None
    listed = info.get_prices(datetime.now(UTC))
    base = _rates(listed, 0)
    if "input" not in base or "output" not in base or any(getattr(listed, key, None) for key in _BESIDES):
        return None  # priced by the image, the second or the request: not by what a budget here can bound
    starts = sorted({tier.start for field in _FIELDS.values() for tier in _tiers(listed, field)})
    return Price(**base, long_context=tuple(LongContext(above=start, **_rates(listed, start + 1)) for start in starts))


def _rates(listed: ModelPrice, input_tokens: int) -> dict[str, Decimal]:
    found = {field: _rate(getattr(listed, key, None), input_tokens) for field, key in _FIELDS.items()}
    return {field: rate for field, rate in found.items() if rate is not None}


def _rate(listed: Decimal | TieredPrices | None, input_tokens: int) -> Decimal | None:
    if not isinstance(listed, TieredPrices):
        return listed
    reached = [tier.price for tier in listed.tiers if input_tokens > tier.start]
    return reached[-1] if reached else listed.base


def _tiers(listed: ModelPrice, key: str) -> list[Tier]:
    price = getattr(listed, key, None)
    return list(price.tiers) if isinstance(price, TieredPrices) else []
