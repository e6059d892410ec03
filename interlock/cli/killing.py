"""``interlock kill`` and ``release``: one run, a user's runs, everything."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from interlock.cli import BROKEN, INTERRUPTED, OK, screen
from interlock.cli.options import Common, Misused, Reason, RunId, valid
from interlock.cli.session import complain, connected, me

if TYPE_CHECKING:
    from interlock.client import Interlock
    from interlock.contracts import KillOrder, Note

User: TypeAlias = Annotated[str | None, Parameter(help="All runs of this user, and every new one.")]
All: TypeAlias = Annotated[bool, Parameter(name="--all", negative="", show_default=False, help="Every run there is.")]


def kill(
    run: RunId | None = None,
    /,
    *,
    user: User = None,
    all_: All = False,
    reason: Reason = "",
    yes: Annotated[
        bool, Parameter(name=("--yes", "-y"), negative="", show_default=False, help="Do not ask before --all.")
    ] = False,
    common: Common = Common(),  # noqa: B008  # frozen
) -> int:
    """End a run now; or all runs of a user, or all there are, and refuse new ones until they are released.

    Calls in flight are dropped; no final answer is made. A run that does not
    hear the signal is cancelled after 2 seconds, and terminated after 3 more.
    Waits until no run is left. In a terminal, --all asks first.
    """
    _one_of(run, user, all_, "RUN, --user or --all")
    if run is not None:
        from interlock.contracts import Note

        return _kill_run(common, run, valid(Note, reason=reason, by=me()))
    order = _order(user, reason)
    if all_ and not yes and _asked_for() and not _confirmed(common, order):
        complain("nothing was killed")
        return BROKEN
    return _kill_many(common, order)


def release(
    *,
    user: Annotated[str | None, Parameter(help="This user's new runs.")] = None,
    all_: Annotated[
        bool, Parameter(name="--all", negative="", show_default=False, help="Everybody's new runs.")
    ] = False,
    reason: Reason = "",
    common: Common = Common(),  # noqa: B008  # frozen
) -> int:
    """Let new runs in again after a kill. Nothing that was killed is revived."""
    _one_of(None, user, all_, "--user or --all")
    order = _order(user, reason)

    async def work(interlock: Interlock) -> int:
        from interlock.cli import ending

        still = await ending.release(interlock.fleet, order)
        if common.json:
            screen.write_json({"scope": order.scope, "subject": order.subject, "released": True, "all_killed": still})
            return OK
        whose = "new runs" if order.scope == "all" else f"new runs of user {order.subject!r}"
        screen.console().print(f"released: {whose} are let in again; what was killed stays killed", soft_wrap=True)
        if still:
            complain("everything is still killed, so they are refused all the same: interlock release --all")
        return OK

    return connected(common, work)


def _one_of(run: str | None, user: str | None, all_: bool, names: str) -> None:
    """Exactly one, and not an empty one: a kill that guesses whom it is for kills the wrong one."""
    given = [each for each in (run, user, all_ or None) if each is not None]
    if len(given) != 1:
        raise Misused(f"name one of {names}, and only one; {'none' if not given else len(given)} was given")
    for name, value in (("RUN", run), ("--user", user)):
        if value is not None and not value.strip():
            raise Misused(f"{name}: it must not be empty")


def _order(user: str | None, reason: str) -> KillOrder:
    from interlock.contracts import KillOrder

    return valid(KillOrder, scope="all" if user is None else "user", subject=user or "", reason=reason, by=me())


def _asked_for() -> bool:
    """Whether there is somebody to ask. A script has decided already."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _confirmed(common: Common, order: KillOrder) -> bool:
    """Not inside an event loop, which would keep Ctrl-C from the question."""
    found: list[int] = []

    async def look(interlock: Interlock) -> int:
        await interlock.fleet.view()
        found.append(await interlock.fleet.open_runs(order.scope, order.subject))
        return OK

    connected(common, look)
    from interlock.present import several

    question = (
        f"Kill everything? {several(found[0], 'run')} open now; new ones are refused until interlock release --all. "
    )
    print(question, "Type yes: ", sep="", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("yes", "y")


def _kill_run(common: Common, run: str, note: Note) -> int:
    async def work(interlock: Interlock) -> int:
        from interlock.cli import ending

        return await ending.run(common, interlock.get(run), note)

    return _interruptible(common, work, f"stopped waiting; whether run {run} has ended: interlock status {run}")


def _kill_many(common: Common, order: KillOrder) -> int:
    told: list[bool] = []

    async def work(interlock: Interlock) -> int:
        from interlock.cli import ending

        return await ending.many(common, interlock.fleet, order, told)

    said = "stopped watching; the kill stays in force and the sweep goes on by itself. See it: interlock kills"
    return _interruptible(common, work, lambda: said if told else "nothing was killed")


def _interruptible(common: Common, work: Callable[[Interlock], Awaitable[int]], said: str | Callable[[], str]) -> int:
    """``work``, which Ctrl-C ends for the person: what has been asked for goes on."""
    try:
        return connected(common, work)
    except KeyboardInterrupt:
        complain(said if isinstance(said, str) else said())
        return INTERRUPTED
