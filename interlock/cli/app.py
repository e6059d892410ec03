"""Which commands there are."""

from __future__ import annotations

from collections.abc import Callable

from cyclopts import App, Group

HELP = (
    "Run LLM agents as Temporal workflows, and look after them.\n\n"
    "Needs a Temporal server and a worker: python worker.py --embedded starts both, interlock doctor tells what is "
    "missing.\n\n"
    "The server is found as Temporal's own tools find it: TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, "
    "TEMPORAL_TLS_*, temporal.toml; else at localhost:7233."
)

EXIT_CODES = (
    "Exit codes: 0 done. 1 it could not be done. 2 the command line is wrong; nothing was done. 130 interrupted."
)
OF_A_RUN = (
    "Exit codes: 0 done, and for a run: completed or degraded. 1 it could not be done, or the run failed, was killed "
    "or cancelled, or ended unavailable. 2 the command line is wrong; nothing was done. 130 interrupted."
)

RUNS = Group("Runs", sort_key=1)
CONTROL = Group("A run under way", sort_key=2)
FLEET = Group("The whole fleet", sort_key=3)
BUDGETS = Group("Budgets that runs share", sort_key=4)
SETUP = Group("Setup", sort_key=5)


def build() -> App:
    """The command line, with every command on it."""
    from interlock.cli import approvals, codec, doctor, fleet, fork, killing, run, runs, signals, top, trace

    app = App(
        name="interlock",
        help=HELP,
        help_format="plaintext",
        help_epilogue=OF_A_RUN,
        version=_version,
        version_flags=["--version"],
        suppress_keyboard_interrupt=False,
    )
    _add(
        app,
        RUNS,
        run=run.run,
        follow=run.follow,
        status=runs.status,
        list=runs.list_runs,
        top=top.top,
        transcript=runs.transcript,
        trace=trace.trace,
        fork=fork.fork,
    )
    _add(
        app,
        CONTROL,
        steer=signals.steer,
        pause=signals.pause,
        resume=signals.resume,
        approve=approvals.approve,
        reject=approvals.reject,
        extend=signals.extend,
        kill=killing.kill,
    )
    _add(app, FLEET, release=killing.release, kills=fleet.kills)
    app.command(_breakers())
    _add(app, SETUP, doctor=doctor.doctor, **{"codec-server": codec.codec_server})
    app.command(_accounts())
    app["--help"].group = app["--version"].group = SETUP
    return app


def _breakers() -> App:
    from interlock.cli import fleet

    app = App(name="breakers", help=fleet.HELP, help_epilogue=EXIT_CODES, version_flags=[], group=FLEET, sort_key=9)
    app.default(fleet.breakers)
    _add(app, None, set=fleet.set_breaker)
    return app


def _accounts() -> App:
    from interlock.cli import budget

    app = App(name="budget", help=budget.HELP, help_epilogue=EXIT_CODES, version_flags=[], group=BUDGETS)
    _add(app, None, show=budget.show, set=budget.set_limit, list=budget.list_accounts)
    return app


def _add(app: App, group: Group | None, **commands: Callable[..., int]) -> None:
    """Commands in the order in which people meet them, and not by the alphabet."""
    for place, (name, function) in enumerate(commands.items()):
        epilogue = OF_A_RUN if name in ("run", "follow", "fork") else EXIT_CODES
        app.command(function, name=name, group=group, sort_key=place, help_epilogue=epilogue)


def _version() -> str:
    from importlib.metadata import version

    return version("interlock")
