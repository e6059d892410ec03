"""The end of the terminal is the end of ``interlock top``.

Most are told by SIGHUP. Who has no session on it (``setsid``, ``nohup``, a container whose client has left) is not, and
textual would go on reading the end of its input, on a whole core, and never look at the server again.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading


def end_with_terminal() -> None:
    """From now on this process ends, with the code that SIGHUP would give it, when its terminal is gone."""
    threading.Thread(target=_watch, args=(sys.stdout.fileno(),), name="hangup", daemon=True).start()


def _watch(terminal: int) -> None:
    poll = select.poll()
    poll.register(terminal, 0)  # nothing but a hang-up, which needs no asking for
    poll.poll()
    os._exit(128 + signal.SIGHUP)  # nobody is left to take leave of


__all__ = ["end_with_terminal"]
