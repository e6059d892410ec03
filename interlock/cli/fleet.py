"""``interlock kills`` and ``interlock breakers``: what is switched off in the fleet, and how breakers judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from interlock.cli import OK, screen
from interlock.cli.options import (
    Common,
    Factor,
    Failures,
    Misused,
    Rate,
    Slices,
    Span,
    valid,
)
from interlock.cli.session import complain, connected, soon

if TYPE_CHECKING:
    from interlock.client import Interlock
    from interlock.client_fleet import Fleet
    from interlock.contracts import Kill

HELP = (
    "See and set the circuit breakers that the fleet shares: one for each model and tool that has failed.\n\n"
    "A breaker that is open refuses calls before they leave a worker; after a while one call in the whole fleet tries "
    "again. Without a command: the breakers, from what the fleet last published; needs no worker."
)


def kills(*, common: Common = Common()) -> int:  # noqa: B008  # frozen
    """The kills in force. Those of single runs are kept for a quarter of an hour.

    What was stopped and refused, and how far each sweep is, is known while a worker answers.
    """

    async def work(interlock: Interlock) -> int:
        from interlock.cli import switch

        found, counted = await _kills(interlock.fleet)
        if common.json:
            screen.write_json([switch.kill_json(each, counted) for each in found])
            return OK
        to = screen.console()
        to.print(switch.kills(found, to, counted=counted) if found else "nothing is killed")
        return OK

    return connected(common, work)


async def _kills(fleet: Fleet) -> tuple[list[Kill], bool]:
    """From the memo, and with the counts where a worker answers for them."""
    from interlock.errors import NoWorker

    found, counted = list((await fleet.view()).kills.values()), False
    if found:
        try:
            found, counted = list((await soon(fleet.status())).kills), True
        except NoWorker:
            complain("no worker answers; what was stopped and refused is not known. Start one: python worker.py")
    rank = {"all": 0, "user": 1, "run": 2}
    return sorted(found, key=lambda each: (rank[each.scope], -each.at.timestamp())), counted


def breakers(*, common: Common = Common()) -> int:  # noqa: B008  # frozen
    """The breakers of what has failed, their state, and how they judge."""

    async def work(interlock: Interlock) -> int:
        from interlock.cli import switch

        view = await interlock.fleet.view()
        if common.json:
            screen.write_json(switch.breakers_json(view))
        else:
            switch.show_breakers(screen.console(), view)
        return OK

    return connected(common, work)


def set_breaker(
    dependency: Annotated[
        str | None, Parameter(help="As interlock breakers names it. Without it: all with no settings of their own.")
    ] = None,
    /,
    *,
    failure_threshold: Annotated[Failures, Parameter(help="Failures in a row that open it.")] = None,
    failure_rate: Annotated[Rate, Parameter(help="Or this share of the calls in the window that failed,")] = None,
    window_seconds: Annotated[Span, Parameter(help="which is so long,")] = None,
    least_calls: Annotated[Failures, Parameter(help="once there were so many calls in it.")] = None,
    window_slices: Annotated[Slices, Parameter(help="The window is forgotten in so many parts.")] = None,
    recovery_seconds: Annotated[Span, Parameter(help="After so long one call tries again.")] = None,
    recovery_factor: Annotated[Factor, Parameter(help="Each failed try makes that so many times longer,")] = None,
    recovery_max: Annotated[Span, Parameter(help="up to this.")] = None,
    successes_to_close: Annotated[Failures, Parameter(help="Tries in a row that succeed, and close it.")] = None,
    slow_seconds: Annotated[Span, Parameter(help="A call without an answer for so long is slow, not down.")] = None,
    common: Common = Common(),  # noqa: B008  # frozen
) -> int:
    """Set how breakers judge, from now on. What is not given stays as it is.

    A dependency that is named gets settings of its own: today's, with what is given changed.
    """
    given: dict[str, Any] = {
        "failure_threshold": failure_threshold,
        "failure_rate": failure_rate,
        "window_seconds": window_seconds,
        "least_calls": least_calls,
        "window_slices": window_slices,
        "recovery_seconds": recovery_seconds,
        "recovery_factor": recovery_factor,
        "recovery_max": recovery_max,
        "successes_to_close": successes_to_close,
        "slow_seconds": slow_seconds,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        raise Misused("name at least one setting, such as --failure-threshold or --recovery-seconds")
    if dependency is not None and not dependency.strip():
        raise Misused("DEPENDENCY: it must not be empty")

    async def work(interlock: Interlock) -> int:
        from interlock.cli import switch

        view = await interlock.fleet.view()
        before = view.settings_of(dependency) if dependency else view.defaults
        said = await interlock.fleet.configure(before.model_copy(update=given), dependency or "")
        settings = said.settings[dependency] if dependency else said.defaults
        if common.json:
            screen.write_json({"dependency": dependency, "settings": settings.model_dump(mode="json")})
        else:
            switch.show_settings(screen.console(), dependency, settings)
        return OK

    from interlock.contracts import BreakerSettings, Configure

    valid(Configure, dependency=dependency or "", settings=valid(BreakerSettings, **given))
    return connected(common, work)
