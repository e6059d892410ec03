"""How large a test is that proves something by its size.

``make test`` is for every change: each such test runs there too, with fewer runs, workers and kills. ``make soak``
runs all tests as large as the documentation claims.
"""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

FULL = os.environ.get("INTERLOCK_TESTS", "") == "full"


def sized(full: T, quick: T) -> T:
    """``full`` under ``make soak``, else ``quick``."""
    return full if FULL else quick
