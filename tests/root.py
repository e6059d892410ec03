"""Where the repository lies. Apart from what tests share: programs under test begin with it, and need nothing else."""

from __future__ import annotations

from pathlib import Path


def source_root() -> Path:
    return Path(__file__).parent.parent
