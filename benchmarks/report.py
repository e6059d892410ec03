"""What a benchmark found, as three files: a page with tables, the raw numbers, a plot."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.embedded import server_binary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INTERLOCK, BARE, LIMIT = "#0b6e99", "#c8553d", "#555555"
"""The colours of every plot: ours, the other, a limit."""


@dataclass(frozen=True)
class Table:
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        # The first column says what a row is about; the others are figures, aligned to the right.
        rule = ["---", *("---:" for _ in self.header[1:])]
        return "\n".join(f"| {' | '.join(row)} |" for row in (self.header, rule, *self.rows))


@dataclass(frozen=True)
class Report:
    """``summary``: what was found, in sentences. ``body``: paragraphs and tables, in order. ``raw``: for JSON."""

    title: str
    summary: Sequence[str]
    body: Sequence[str | Table]
    raw: dict[str, Any]
    draw: Callable[[Figure], None]
    size: tuple[float, float] = field(default=(10.0, 4.4))


async def machine() -> dict[str, str | int]:
    """What it was measured on, without names and paths. The load tells whether the machine was busy with others."""
    said = subprocess.run([server_binary(), "--version"], capture_output=True, text=True, check=True).stdout
    found: dict[str, str | int] = {
        "date": datetime.now(UTC).date().isoformat(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count() or 0,
        "load, last 5 min": f"{os.getloadavg()[1]:.1f}" if hasattr(os, "getloadavg") else "unknown",
        "python": platform.python_version(),
        "temporalio": version("temporalio"),
        "temporal server": said.partition("Server ")[2].partition(",")[0].strip("() \n") or said.strip(),
    }
    return found


def write(name: str, report: Report, on: dict[str, str | int], directory: Path) -> list[Path]:
    """Write the page, the numbers and the plot of a report; return their paths."""
    page, raw, plot = (directory / f"{name}.{kind}" for kind in ("md", "json", "png"))
    directory.mkdir(parents=True, exist_ok=True)
    sections = [
        f"# {report.title}",
        "\n".join(f"- {line}" for line in report.summary),
        f"![{report.title}]({plot.name})",
    ]
    sections += [str(part) for part in report.body]
    sections.append(f"Measured on: {', '.join(f'{key} {value}' for key, value in on.items())}.")
    sections.append(f"Again: `make bench ARGS={name}`. Every single measurement is in [{raw.name}]({raw.name}).")
    page.write_text("\n\n".join(sections) + "\n")
    raw.write_text(json.dumps({"machine": on, **report.raw}, indent=1, default=str) + "\n")
    _plot(report, plot)
    return [page, raw, plot]


def _plot(report: Report, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context(
        {
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "legend.frameon": False,
        }
    ):
        figure = pyplot.figure(figsize=report.size, layout="constrained")
        report.draw(figure)
        figure.savefig(path, dpi=110)
        pyplot.close(figure)
