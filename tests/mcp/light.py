"""The tester without the ``mcp`` package, which takes long to import: ``python tests/mcp/light.py NOTES``. For tests of
its process and its calls: it has the tools of ``tests.mcp.server`` that these need, and notes the same."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

NOTES = Path(sys.argv[1])


def note(*words: object) -> None:
    with NOTES.open("a") as file:
        print(*words, file=file)


async def add(a: int, b: int) -> int:
    note("add", a, b)
    return a + b


async def pid() -> int:
    return os.getpid()


async def hang(label: str, seconds: float = 60) -> str:
    note("hang", label, os.getpid())
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note("cancelled", label)
        raise
    return f"{label} is over"


async def once(label: str) -> str:
    """Takes long the first time, and only then."""
    before = NOTES.read_text().count(f"once {label}")
    note("once", label, os.getpid())
    if before == 0:
        await asyncio.sleep(60)
    return f"{label} at attempt {before + 1}"


async def leave(code: int) -> None:
    print("leaving now", file=sys.stderr, flush=True)
    os._exit(code)


TOOLS: dict[str, Callable[..., Awaitable[object]]] = {each.__name__: each for each in (add, pid, hang, once, leave)}
TYPES = {"int": "integer", "float": "number", "str": "string"}


def listed(name: str) -> dict[str, Any]:
    function = TOOLS[name]
    types = {key: TYPES[kind] for key, kind in function.__annotations__.items() if key != "return"}
    required = list(types)[: len(types) - len(function.__defaults__ or ())]
    properties = {key: {"type": kind} for key, kind in types.items()}
    schema = {"type": "object", "properties": properties, "required": required}
    return {"name": name, "description": name, "inputSchema": schema}


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


async def call(number: object, name: str, arguments: dict[str, Any]) -> None:
    text = str(await TOOLS[name](**arguments))
    send({"id": number, "result": {"content": [{"type": "text", "text": text}]}})


async def main() -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    under_way: dict[object, asyncio.Task[None]] = {}
    async for line in lines:
        message = json.loads(line)
        asked = message.get("params", {})
        match message.get("method"):
            case "initialize":
                about = {"serverInfo": {"name": "light", "version": "1"}, "capabilities": {"tools": {}}}
                send({"id": message["id"], "result": {"protocolVersion": "2025-06-18", **about}})
            case "tools/list":
                send({"id": message["id"], "result": {"tools": [listed(name) for name in TOOLS]}})
            case "tools/call":
                number = message["id"]
                under_way[number] = asyncio.create_task(call(number, asked["name"], asked.get("arguments", {})))
            case "notifications/cancelled" if asked["requestId"] in under_way:
                under_way[asked["requestId"]].cancel()
            case _ if "id" in message:
                send({"id": message["id"], "error": {"code": -32601, "message": "unknown"}})


note("start", os.getpid())
asyncio.run(main())
