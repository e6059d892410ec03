"""A real MCP server, by the ``mcp`` package: ``python -m tests.mcp.server NOTES [--port N]``. It notes in the file
NOTES what is done to it, a line each."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import BlobResourceContents, EmbeddedResource, ImageContent, ResourceLink, TextContent, ToolAnnotations
from pydantic import BaseModel

NOTES = Path(os.devnull)
server = MCPServer("tester")


def note(*words: object) -> None:
    with NOTES.open("a") as file:
        print(*words, file=file)


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    note("add", a, b)
    return a + b


@server.tool(annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True))
def pid() -> str:
    """The number of this process."""
    return str(os.getpid())


@server.tool()
async def hang(label: str, seconds: float = 60) -> str:
    """Take long."""
    note("hang", label, os.getpid())
    try:
        await anyio.sleep(seconds)
    except anyio.get_cancelled_exc_class():
        note("cancelled", label)
        raise
    return f"{label} is over"


@server.tool()
async def once(label: str) -> str:
    """Take long the first time, and only then."""
    before = NOTES.read_text().count(f"once {label}")
    note("once", label, os.getpid())
    if before == 0:
        await anyio.sleep(60)
    return f"{label} at attempt {before + 1}"


@server.tool()
def fail(why: str) -> str:
    """Fail."""
    raise ToolError(why)


@server.tool()
def environment() -> dict[str, str]:
    """What it can see of the environment."""
    return dict(os.environ)


@server.tool()
def everything() -> list[Any]:
    """A part of each kind."""
    return [
        TextContent(text="first"),
        ImageContent(data="QUJDRA==", mime_type="image/png"),
        EmbeddedResource(resource=BlobResourceContents(uri="file:///b", blob="QUJD", mime_type="application/zip")),
        ResourceLink(name="more", uri="https://example.com/x", mime_type="text/plain", size=7),
        TextContent(text="last"),
    ]


@server.tool()
def long(size: int) -> str:
    """A long text."""
    return "x" * size


class Answer(BaseModel):
    yes: bool


@server.tool()
async def ask(context: Context[Any]) -> str:
    """Ask the user."""
    return str(await context.elicit("May I?", Answer))


@server.tool()
def leave(code: int) -> str:
    """End this process."""
    print("leaving now", file=sys.stderr, flush=True)
    os._exit(code)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("notes", type=Path)
    parser.add_argument("--port", type=int)
    arguments = parser.parse_args()
    NOTES = arguments.notes
    note("start", os.getpid())
    if arguments.port is None:
        server.run()
    else:
        server.run("streamable-http", host="127.0.0.1", port=arguments.port)
