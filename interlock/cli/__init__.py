"""The ``interlock`` command: what a person at a terminal, or a script, does with runs.

    app.py      which commands there are
    options.py  what their flags accept
    session.py  from flags to a connected client, and from errors to one line and an exit code
    runs.py     status, list, transcript        run.py        run, follow
    trace.py    trace                           fork.py       fork
    top.py      top                             approvals.py  approve, reject
    signals.py  steer, pause, resume, extend
    killing.py  kill, release                   fleet.py      kills, breakers, breakers set
    budget.py   budget show, set, list          doctor.py     doctor
    codec.py    codec-server

Everything but the standard library and cyclopts is imported inside commands, so that ``--help`` is quick.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

OK, BROKEN, MISUSED, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Carry out a command line and exit with its code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us: what is said then goes nowhere
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  # for as long as we live
        # A terminal without an emoji, or a text with half of one, must not end a command.
        if hasattr(stream := getattr(sys, name), "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        from interlock.cli.session import carry_out

        code = carry_out(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except BrokenPipeError:  # who read us has seen enough: `interlock transcript … | head`
        code = BROKEN
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as error:  # a full disk
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EBADF):
            raise
        print(f"interlock: what there is to say cannot be written: {error.strerror}", file=sys.stderr)
        code = BROKEN
    with suppress(OSError):
        sys.stderr.flush()
    # Not sys.exit: threads of the Temporal SDK are still there, and now and then one of them touches the interpreter
    # while it shuts down, which aborts the process with a fatal error in the place of our exit code.
    os._exit(code)
