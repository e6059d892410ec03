"""``interlock status``, ``list`` and ``transcript``: what there is to know about runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Parameter

from interlock.cli import OK, screen
from interlock.cli.options import Common, Misused, RunId
from interlock.cli.session import complain, connected, soon
from interlock.present import printable

if TYPE_CHECKING:
    from interlock.client import Interlock
    from interlock.contracts import RunStatus

State: TypeAlias = Literal["starting", "running", "paused", "waiting_approval", "waiting_breaker", "closed"]
Result: TypeAlias = Annotated[
    str | None,
    Parameter(
        name="--result",
        help="Instead, one tool result that was too long for the history, whole: the digits after results/ in the "
        "note at its end. From INTERLOCK_STORE.",
    ),
]


def status(run: RunId, /, *, common: Common = Common()) -> int:  # noqa: B008
    """What a run is doing, and what it has spent of its limits.

    The run itself is asked, which takes a worker; where none answers, the server's index tells what it knows.
    """

    async def work(interlock: Interlock) -> int:
        from interlock.cli.index import Found
        from interlock.errors import BadRequest, NoWorker

        found = Found.of(await interlock.describe(run))
        try:
            said = await soon(interlock.get(run).status())
        except (NoWorker, BadRequest) as error:
            complain(f"{error}. This is what the server's index knows")
            show_status(common, found.status(), ended=found.ended, by="index")
        else:
            show_status(common, said, ended=found.ended)
        return OK

    return connected(common, work)


def list_runs(
    *,
    user: Annotated[str | None, Parameter(help="Runs on behalf of this user.")] = None,
    state: Annotated[State | None, Parameter(help="Runs in this state.")] = None,
    query: Annotated[
        str,
        Parameter(
            name=("--query", "-q"),
            show_default=False,
            help="A Temporal list filter, such as \"AgentOutcome = 'degraded' AND AgentCostUsd > 1\".",
        ),
    ] = "",
    limit: Annotated[int, Parameter(help="Most runs to show.")] = 50,
    common: Common = Common(),  # noqa: B008
) -> int:
    """Runs, newest first."""
    if limit < 1:
        raise Misused("--limit: it must be 1 or more.")

    async def work(interlock: Interlock) -> int:
        from interlock.cli.index import matching, where
        from interlock.cli.tables import runs
        from interlock.errors import BadRequest

        try:
            found = await matching(interlock.list(where(user, state, query)), user, limit + 1)
        except BadRequest as error:
            raise (Misused(f"--query: {error}") if query and "query" in str(error) else error) from error
        if common.json:
            screen.write_json([each.as_json() for each in found[:limit]])
            return OK
        to = screen.console()
        to.print(runs(found[:limit], to) if found else "no runs")
        if len(found) > limit:
            to.print(f"the newest {limit}; --limit shows more", style="dim")
        return OK

    return connected(common, work)


def transcript(run: RunId, /, *, result: Result = None, common: Common = Common()) -> int:  # noqa: B008
    """The conversation of a run so far, in full, from its history. Needs no worker."""

    async def work(interlock: Interlock) -> int:
        from interlock.cli import conversation

        if result is not None:
            whole = await interlock.result_in_store(run, result)
            if common.json:
                screen.write_json({"run": run, "result": result, "content": whole})
            else:
                print(printable(whole))
            return OK
        told = await interlock.transcript(run)
        if common.json:
            screen.write_json({"run": run, **told.model_dump(mode="json")})
        else:
            conversation.show(screen.console(), told)
        return OK

    return connected(common, work)


def show_status(common: Common, said: RunStatus, *, ended: str | None = None, by: str = "run") -> None:
    """A status as text, or as JSON with who gave it: the run itself, or the server's index."""
    if common.json:
        screen.write_json({**said.model_dump(mode="json"), "ended": ended, "answered_by": by})
    else:
        from interlock.cli.tables import status

        status(screen.console(), said, ended=ended)
