"""An agent whose tools know a secret and do with it what tools should not."""

from __future__ import annotations

import base64
import json
import logging
import os
from urllib.parse import quote

import structlog

from interlock import Agent, Retry, Secret, ToolError, tool
from interlock.testing import ScriptedModel, call, calls, say

TOKEN = Secret("SECRETIVE_TOKEN")
MISSING = Secret("SECRETIVE_MISSING")

log = structlog.get_logger("secretive")


@tool(effect="read")
async def tells() -> str:
    """Tell it."""
    return f"the token is {TOKEN.reveal()}"


@tool(effect="read")
def tells_forms() -> dict[str, str]:
    """Tell it in other forms, from a thread."""
    value = TOKEN.reveal()
    return {
        "plain": value,
        "json": json.dumps({"token": value}),
        "url": f"https://site.test/?token={quote(value)}&again={quote(value, safe='')}",
        "basic": base64.b64encode(f"user:{value}".encode()).decode(),
        "hex": value.encode().hex(),
    }


@tool(effect="read")
async def tells_without_asking() -> str:
    """Tell what was revealed in an earlier call."""
    return os.environ["SECRETIVE_TOKEN"]


@tool(effect="read", max_result_bytes=1000)
def tells_at_length() -> str:
    """Tell it often enough to be cut and kept in the store."""
    return f"{TOKEN.reveal()} " * 1000


@tool(effect="read")
async def raises() -> str:
    """Raise it."""
    raise ConnectionError(f"refused: Authorization: Bearer {TOKEN.reveal()}")


@tool(effect="write")
def raises_late() -> str:
    """Raise it where the first 500 characters of the message end, from another error."""
    try:
        raise ValueError(TOKEN.reveal())
    except ValueError as error:
        raise RuntimeError("x" * 490 + TOKEN.reveal()) from error


@tool(effect="write")
async def complains() -> str:
    """Complain of it."""
    raise ToolError(f"{TOKEN.reveal()} is refused")


@tool(effect="read")
def logs() -> str:
    """Log it in every way."""
    value = TOKEN.reveal()
    log.info("said", token=value, nested={"in": [value]})
    logging.getLogger("secretive.plain").warning("said %s", value)
    try:
        raise ValueError(value)
    except ValueError:
        log.exception("raised")
        logging.getLogger("secretive.plain").exception("raised again")
    return f"{TOKEN} {TOKEN!r}"


@tool(effect="read")
async def misses() -> str:
    """Ask for one that is not there."""
    return MISSING.reveal()


TOOLS = [tells, tells_forms, tells_at_length, raises, raises_late, complains, logs, misses]
MODEL = ScriptedModel(
    "secretive", [calls(*(call(each.name) for each in TOOLS)), call("tells_without_asking"), say("done")]
)
AGENT = Agent(
    name="secretive",
    instructions="",
    models=MODEL.model,
    tools=[*TOOLS, tells_without_asking],
    retry=Retry(attempts=2, initial=0.02, maximum=0.05),
)
