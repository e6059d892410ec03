"""Which commands there are."""

from __future__ import annotations

from cyclopts import App, Group

HELP = (
    "Run LLM agents as Temporal workflows, and look after them.\n\n"
    "The server is found as Temporal's own tools find it: TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, "
    "TEMPORAL_TLS_*, temporal.toml."
)

EXIT_CODES = (
    "Exit codes: 0 done, and for a run: completed or degraded. 1 it could not be done, or the run failed, was killed "
    "or cancelled, or ended unavailable. 2 the command line is wrong and nothing was started. 130 interrupted."
)

RUNS = Group("Runs", sort_key=1)
CONTROL = Group("A run under way", sort_key=2)
SETUP = Group("Setup", sort_key=3)


def build() -> App:
    """The command line, with every command on it."""
    from interlock.cli import doctor, run, runs, signals

    app = App(
        name="interlock",
        help=HELP,
        help_format="plaintext",
        help_epilogue=EXIT_CODES,
        version=_version,
        version_flags=["--version"],
        suppress_keyboard_interrupt=False,
    )
    app.command(run.run, group=RUNS)
    app.command(run.follow, group=RUNS)
    app.command(runs.status, group=RUNS)
    app.command(runs.list_runs, name="list", group=RUNS)
    app.command(runs.transcript, group=RUNS)
    app.command(signals.steer, group=CONTROL)
    app.command(signals.pause, group=CONTROL)
    app.command(signals.resume, group=CONTROL)
    app.command(signals.extend, group=CONTROL)
    app.command(signals.kill, group=CONTROL)
    app.command(doctor.doctor, group=SETUP)
    app["--help"].group = app["--version"].group = SETUP
    return app


def _version() -> str:
    from importlib.metadata import version

    return version("interlock")
