"""``python -m benchmarks [NAME...]``: run the benchmarks, all or the named ones, and write their results."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from importlib import import_module
from pathlib import Path

from benchmarks.report import Report, machine, write

BENCHMARKS = ("step_latency", "history", "budgets", "kill", "telemetry")
RESULTS = Path(__file__).parent / "results"


async def run(names: list[str]) -> None:
    for number, name in enumerate(names, start=1):
        module = import_module(f"benchmarks.{name}")
        began = time.monotonic()
        tell(f"[{number}/{len(names)}] {name}: {module.TITLE}")
        report: Report = await module.measure(lambda line: tell(f"      {line}"))
        files = write(name, report, await machine(), RESULTS)
        tell("", *report.summary, "")
        tell(f"      {', '.join(f'results/{file.name}' for file in files)} ({time.monotonic() - began:.0f} s)")


def tell(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measure Interlock.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHMARKS)}; default: all")
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"no benchmark is named {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    try:
        asyncio.run(run(names))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
