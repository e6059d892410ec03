"""A run that another run has started, and the accounts that both pay from."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AwareDatetime, Field, StringConstraints

from interlock.contracts.base import Asked, Count, Money, Window

ACCOUNT_FIELDS = ("{user_id}", "{agent}")
"""What stands for the run's own in the name of an account."""


class Account(Asked):
    """A budget shared by many runs: ``user:{user_id}``, ``agent:{agent}`` or ``fleet``, or any name of one's own
    in which ``{user_id}`` and ``{agent}`` stand for the run's. ``window`` (UTC) is when it starts anew."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=1000)]  # with a user's id in it
    usd: Money
    window: Window = "day"

    def __init__(self, name: str, **fields: object) -> None:
        super().__init__(**{"name": name, **fields})

    def of(self, user_id: str, agent: str) -> Self:
        """The account of one run."""
        stands_for = dict(zip(ACCOUNT_FIELDS, (user_id, agent), strict=True))
        name = re.sub("|".join(map(re.escape, ACCOUNT_FIELDS)), lambda found: stands_for[found[0]], self.name)
        return self.model_copy(update={"name": name})


class ParentRun(Asked):
    """The run that started another, as a tool.

    run       its id
    call_id   the call that the other run is
    depth     how many runs below the first one the other run is
    accounts  what it pays from: what runs for it do is paid from there as well, by themselves
    begun     when it was started, or the one that it works for"""

    run: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    call_id: str
    depth: Annotated[Count, Field(ge=1)]
    accounts: tuple[Account, ...] = ()
    begun: AwareDatetime | None = None
