"""Money as people read it."""

from __future__ import annotations

from decimal import Decimal


def dollars(usd: Decimal) -> str:
    """``$0.50``; more places where they are not zero."""
    text = f"{usd:f}"
    whole, _, places = text.partition(".")
    return f"${whole}.{places.rstrip('0').ljust(2, '0')}"


def spent_of(usd: Decimal, limit: Decimal | None) -> str:
    """``$0.0144 of $0.50``."""
    return f"${usd:.4f}" if limit is None else f"${usd:.4f} of {dollars(limit)}"
