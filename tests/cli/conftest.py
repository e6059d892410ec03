"""The real command as a process of its own, against the session's server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from tests import warm
from tests.conftest import Served

COMMAND = (sys.executable, "-m", "interlock.cli")


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The only line on stderr."""
        [line] = self.err.splitlines()
        assert line.startswith("interlock: ")
        return line


@dataclass(frozen=True)
class CommandLine:
    environment: Mapping[str, str]

    def on(self, served: Served) -> CommandLine:
        """The same, for the queue and the fleet that a worker serves."""
        served_here = {
            "INTERLOCK_TASK_QUEUE": served.interlock.queue,
            "INTERLOCK_FLEET": served.interlock.fleet.id,
        }
        return replace(self, environment={**self.environment, **served_here})

    async def __call__(self, *arguments: str) -> Ran:
        with tempfile.TemporaryDirectory(prefix="interlock-cli-") as directory:
            out, err = Path(directory, "out"), Path(directory, "err")
            process = warm.begin("interlock", arguments, environment=self.environment, out=out, err=err)
            try:
                code = await asyncio.wait_for(process.wait(), 120)
            finally:
                process.kill()
            return Ran(code, out.read_text(), err.read_text())


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would change where the command looks or how it writes."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "INTERLOCK_"))}
    return {**ours, **more}


@pytest.fixture
def cli(temporal: Client) -> CommandLine:
    address = temporal.service_client.config.target_host
    return CommandLine(environment(TEMPORAL_ADDRESS=address, INTERLOCK_UI_URL="http://ui.example"))
