"""``make demo``: an agent at work on log files, from nothing to an answer in one command.

    INTERLOCK_DEMO_INPUT   the question (INPUT="..." to make)
    INTERLOCK_DEMO_DIR     the directory with the log files (DIR=... to make)
    INTERLOCK_DEMO_STATE   where history and the worker's log are kept; default .interlock

In a terminal it goes on serving until Ctrl-C; without one it stops all that it started and ends.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

QUESTION = "Why did checkouts fail?"


@dataclass(frozen=True)
class Settings:
    question: str
    logs: Path
    state: Path
    stay: bool


def settings() -> Settings:
    """From the environment. Raises ``ValueError`` with what is wrong, in one line."""
    question = os.environ.get("INTERLOCK_DEMO_INPUT", "").strip() or QUESTION
    logs = _directory(os.environ.get("INTERLOCK_DEMO_DIR") or str(Path(__file__).parent / "data"))
    state = Path(os.environ.get("INTERLOCK_DEMO_STATE") or ".interlock")
    stay = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    return Settings(question, logs, state.resolve(), stay)


def _directory(said: str) -> Path:
    with suppress(OSError, RuntimeError, ValueError):  # too long, no such user, a zero byte
        path = Path(said).expanduser()
        if path.is_dir():
            return path.resolve()
    raise ValueError(f"DIR {said!r} is not a directory; name one with log files in it")


def main() -> int:
    try:
        chosen = settings()
    except ValueError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    # Only now: it takes a second, and a mistake above is told at once.
    from examples.demonstration import demonstrate

    return demonstrate(chosen)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has gone; Python would complain of it once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
