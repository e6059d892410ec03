"""What the tests of runs share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Store and journal of one test."""
    monkeypatch.setenv("INTERLOCK_JOURNAL", str(tmp_path / "journal.db"))
    return tmp_path
