"""What the tests of runs share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from interlock.testing import temporal_server


@pytest.fixture(scope="session")
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    """A server where waiting takes no time."""
    async with temporal_server(time_skipping=True) as environment:
        yield environment


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Store and journal of one test."""
    monkeypatch.setenv("INTERLOCK_JOURNAL", str(tmp_path / "journal.db"))
    return tmp_path
