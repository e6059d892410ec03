"""How figures, times and texts read to people, and where a run can be looked at. Standard library only."""

from __future__ import annotations

import os
import re
import shlex
from datetime import timedelta
from decimal import Decimal
from urllib.parse import quote

DEFAULT_UI = "http://localhost:8233"

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # and what turns a line round


def dollars(value: Decimal | float) -> str:
    """``$0.0144``; a cost too small for four places is not shown as free."""
    return "<$0.0001" if 0 < value < Decimal("0.00005") else f"${value:.4f}"


def seconds(value: float) -> str:
    """``0.3 s``, ``2m 05s``, ``3h 04m``."""
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {rest:02}s"


def age(value: timedelta) -> str:
    """``12s``, ``4m``, ``3h``, ``2d``: how long ago, in its largest unit."""
    passed = max(0, int(value.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if passed >= length:
            return f"{passed // length}{unit}"
    return f"{passed}s"


def several(count: int, noun: str) -> str:
    """``1 step``, ``2 steps``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def printable(text: str) -> str:
    """``text`` without what a terminal would obey: models and tools must not move the cursor of who reads them."""
    return _CONTROL.sub("", text.replace("\r\n", "\n"))


def quoted(text: str) -> str:
    """``text`` as one word of a command that people copy."""
    return shlex.quote(printable(text))


def one_line(text: str) -> str:
    """``text`` on one line, of characters that can be seen."""
    return "".join(each for each in " ".join(text.split()) if each.isprintable())


def ui_url() -> str:
    """``INTERLOCK_UI_URL``, or where the development server's Web UI is."""
    return (os.environ.get("INTERLOCK_UI_URL") or DEFAULT_UI).rstrip("/")


def ui_link(namespace: str, id: str, run_id: str) -> str:
    """Where the Web UI shows a run."""
    return f"{ui_url()}/namespaces/{quote(namespace, safe='')}/workflows/{quote(id, safe='')}/{run_id}/history"


def run_link(namespace: str, id: str) -> str | None:
    """Where the Web UI shows the latest run of an id; ``None`` where nobody has said where the Web UI is."""
    if not os.environ.get("INTERLOCK_UI_URL"):
        return None
    return f"{ui_url()}/namespaces/{quote(namespace, safe='')}/workflows/{quote(id, safe='')}"


def show_command(id: str, *flags: str) -> str:
    """The ``temporal`` command that shows a run."""
    return shlex.join(["temporal", "workflow", "show", "--workflow-id", id, *flags])
