"""A server on a file, to be SIGKILLed and started again where it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client

from interlock.converter import data_converter
from interlock.embedded import Server, free_port, start_server


@dataclass
class Restartable:
    """``client``: of the server, whichever of its lives it is in."""

    client: Client
    database: Path
    port: int
    server: Server

    async def kill(self) -> None:
        await self.server.kill()

    async def begin(self) -> None:
        self.server = await start_server(database=self.database, port=self.port, ui=False)

    async def restart(self) -> None:
        await self.kill()
        await asyncio.sleep(0.5)
        await self.begin()


@asynccontextmanager
async def restartable(directory: Path) -> AsyncIterator[Restartable]:
    port, database = free_port(), directory / "temporal.db"
    server = await start_server(database=database, port=port, ui=False)
    client = await Client.connect(server.address, data_converter=data_converter())
    found = Restartable(client, database, port, server)
    try:
        yield found
    finally:
        await found.server.stop()
