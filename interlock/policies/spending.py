"""How much of an account's limit is used, and what people have to be told of it."""

from __future__ import annotations

from decimal import Decimal

from interlock.contracts import LedgerState


def used(state: LedgerState) -> Decimal:
    """What runs have spent: settled, or reported by those that are under way. Not what they hold beyond that: a
    lease is taken ahead of need and most of it comes back, so an alert on it would come too early, and often."""
    return state.spent_usd + sum((lease.spent_usd for lease in state.leases.values()), Decimal(0))


def reached(state: LedgerState) -> tuple[Decimal, ...]:
    """The shares of the limit to tell people of that are spent. All of it counts as spent once a run is refused for
    good: a call that does not fit into the rest is not made, so the last cents never are."""
    if state.limit is None or state.limit.usd == 0:  # nothing to spend: somebody wanted it so
        return ()
    share = used(state) / state.limit.usd
    return tuple(at for at in sorted(state.settings.alert_at) if share >= at or (at == 1 and state.refused))


def news(state: LedgerState) -> tuple[LedgerState, tuple[Decimal, ...]]:
    """The shares of the limit that people have to be told of now; each once in a window."""
    fresh = tuple(at for at in reached(state) if at not in state.told_at)
    return (state.model_copy(update={"told_at": (*state.told_at, *fresh)}) if fresh else state), fresh
