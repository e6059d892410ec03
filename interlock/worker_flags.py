"""The command line of ``worker.py``: its flags, and the variables that stand in for limits that are not given."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

from interlock.contracts import LONGEST
from interlock.queues import Limits


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags; ``limits`` is what they and the environment say of limits. Exits with code 2 and a line that names
    the flag or the variable that is wrong."""
    parser = argparse.ArgumentParser(prog="worker.py", description="Serve agents as Temporal workflows.")
    parser.add_argument("--agents", action="append", metavar="MODULE[:NAME]", help="default: examples.analyst")
    parser.add_argument("--embedded", action="store_true", help="start a Temporal server for development as well")
    parser.add_argument("--task-queue", metavar="Q", help="default: INTERLOCK_TASK_QUEUE, or interlock")
    parser.add_argument("--metrics", metavar="HOST:PORT", help="serve /metrics there; default: INTERLOCK_METRICS")
    parser.add_argument("--grace", type=_seconds, default=20.0, metavar="S", help="seconds for calls in flight (20)")
    runs, calls = _whole(2), _whole(1)  # the SDK needs room for two runs
    limited: dict[str, Callable[[argparse.Namespace], Any]] = {
        "runs": _limit(parser, "--max-runs", "INTERLOCK_MAX_RUNS", runs, "open runs kept in memory (1000)"),
        "model_calls": _limit(
            parser, "--max-model-calls", "INTERLOCK_MAX_MODEL_CALLS", calls, "calls of models at the same time"
        ),
        "tool_calls": _limit(
            parser, "--max-tool-calls", "INTERLOCK_MAX_TOOL_CALLS", calls, "calls of tools at the same time"
        ),
        "calls_per_second": _limit(
            parser,
            "--max-calls-per-second",
            "INTERLOCK_MAX_CALLS_PER_SECOND",
            _rate,
            "calls of models that the server hands out in a second, to all workers of the queue together",
        ),
    }
    arguments = parser.parse_args(argv)
    arguments.limits = Limits(**{name: ask(arguments) for name, ask in limited.items()})
    return arguments


def _limit(
    parser: argparse.ArgumentParser, flag: str, variable: str, read: Callable[[str], float], what: str
) -> Callable[[argparse.Namespace], float | None]:
    """Add a flag; returns what reads it from the arguments, or else from ``variable``."""
    action = parser.add_argument(flag, type=read, metavar="N", help=f"{what}; default: {variable}")

    def ask(arguments: argparse.Namespace) -> float | None:
        given: float | None = getattr(arguments, action.dest)
        if given is not None or not (text := os.environ.get(variable)):
            return given
        try:
            return read(text)
        except argparse.ArgumentTypeError as error:
            parser.error(f"{variable}: {error}")

    return ask


def _whole(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) <= 6 and int(text) >= least):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to 999999")
        return int(text)

    return read


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to {LONGEST}")
    return seconds


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not (rate > 0 and math.isfinite(rate)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of calls a second above 0")
    return rate
