"""``mcp``: the tools of an MCP server as tools of an agent, as its author declares them.

Only a declaration: nothing is started and nobody is asked before a worker serves the agent. Not ``mcp.py``: the
module's name would hide the function's in ``interlock.mcp``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Protocol, get_args, runtime_checkable
from urllib.parse import urlsplit

from interlock.agent_tools import NAME
from interlock.contracts import Effect, Retry

_RUNNERS = {
    "uvx",
    "npx",
    "pipx",
    "bunx",
    "uv",
    "python",
    "python3",
    "node",
    "bun",
    "deno",
    "sh",
    "bash",
    "env",
    "docker",
}
_SHORT = 48
"""The longest name of a server: what is left of the 64 characters of a function's name is its tools'."""


@runtime_checkable
class Revealed(Protocol):
    """A value that is read where it is used: ``interlock.Secret``."""

    def reveal(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class McpServer:
    """An MCP server whose tools an agent may call. Made by ``mcp``."""

    name: str
    command: tuple[str, ...] = ()
    url: str = ""
    allow: tuple[str, ...] | None = None
    effects: Mapping[str, Effect] = field(default_factory=dict)
    env: Mapping[str, str | Revealed] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str | Revealed] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    timeout: float | None = None
    start_timeout: float = 60.0
    retry: Retry | None = None
    max_result_bytes: int = 65_536

    def __post_init__(self) -> None:
        called = f"mcp server {self.name!r}"
        if not NAME.fullmatch(self.name) or len(self.name) > _SHORT:
            raise ValueError(f"{called}: use 1 to {_SHORT} of A-Z a-z 0-9 _ -, or pass mcp(..., name=...)")
        for tool, effect in self.effects.items():
            if effect not in get_args(Effect):
                raise ValueError(f"{called}: effect {effect!r} of {tool} is not one of {', '.join(get_args(Effect))}")
            if self.allow is not None and tool not in self.allow:
                raise ValueError(f"{called}: effects names {tool!r}, which allow does not")
        for what, values in (("env", self.env), ("headers", self.headers)):
            for key, value in values.items():
                if not isinstance(value, str | Revealed):
                    raise TypeError(f"{called}: {what}[{key!r}] must be text or a Secret, not {type(value).__name__}")
        if self.command and self.headers:
            raise ValueError(f"{called}: headers are for a server at a URL; a process gets env")
        if self.url and (self.env or self.cwd):
            raise ValueError(f"{called}: env and cwd are for a process; a server at a URL gets headers")
        if not self.start_timeout > 0 or not (self.timeout is None or self.timeout > 0):
            raise ValueError(f"{called}: timeout and start_timeout must be more than 0 seconds")
        if self.max_result_bytes < 256:
            raise ValueError(f"{called}: max_result_bytes {self.max_result_bytes} must be at least 256")

    @property
    def place(self) -> str:
        """Where it is, for messages to people: the command, or the URL without what may be secret in it."""
        if self.command:
            return shlex.join(self.command)
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def connection(self) -> tuple[Any, ...]:
        """What makes it the same server: two agents may share one, each with a list of its own."""
        env, headers = tuple(sorted(self.env.items())), tuple(sorted(self.headers.items()))
        return (self.name, self.command, self.url, env, headers, self.cwd, self.start_timeout)

    def tool_name(self, tool: str) -> str:
        """What the model calls one of its tools: a name that every provider takes for a function's."""
        name = f"{self.name}_{re.sub(r'[^A-Za-z0-9_-]', '_', tool)}"
        return name if len(name) <= 64 else f"{name[:55]}_{sha256(tool.encode()).hexdigest()[:8]}"

    def dependency(self, tool: str) -> str:
        """What the fleet's breakers know one of its tools by."""
        return f"tool:{self.name}/{tool}"


def mcp(
    server: str | Sequence[str],
    *,
    name: str | None = None,
    allow: Sequence[str] | None = None,
    effects: Mapping[str, Effect] | None = None,
    env: Mapping[str, str | Revealed] | None = None,
    headers: Mapping[str, str | Revealed] | None = None,
    cwd: str | None = None,
    timeout: float | None = None,
    start_timeout: float = 60.0,
    retry: Retry | None = None,
    max_result_bytes: int = 65_536,
) -> McpServer:
    """The tools of an MCP server, for ``Agent(tools=[...])``.

    server            a command line, run by the worker (stdio), or an http(s) URL (streamable HTTP)
    name              the prefix of its tools' names; default: from the command or the URL
    allow             the tools the agent may call, by the server's names; default: all
    effects           ``{"search": "read"}``; whatever is not named is ``write``. What the server says of its own
                      tools (``readOnlyHint`` and its like) is not believed
    env, headers      for the process, or with each request; a ``Secret`` is read when it starts. A process
                      gets PATH, HOME, LANG, USER, TMPDIR and these, nothing else of the worker's environment
    cwd               where the process runs
    timeout           seconds for one attempt of a call; never more than the run's ``step_seconds``
    start_timeout     seconds for the server to start and to list its tools
    retry             how patiently its calls are tried again; default: the agent's
    max_result_bytes  a longer result is cut, and says so

    Raises ``ValueError`` or ``TypeError`` naming what is wrong."""
    url = server if isinstance(server, str) and re.match(r"https?://", server) else ""
    command = () if url else _command(server)
    if url and not urlsplit(url).hostname:
        raise ValueError(f"mcp({server!r}): the URL names no host")
    return McpServer(
        name=name or (_name_of_url(url) if url else _name_of_command(command)),
        command=command,
        url=url,
        allow=None if allow is None else tuple(allow),
        effects=MappingProxyType(dict(effects or {})),
        env=MappingProxyType(dict(env or {})),
        headers=MappingProxyType(dict(headers or {})),
        cwd=cwd,
        timeout=timeout,
        start_timeout=start_timeout,
        retry=retry,
        max_result_bytes=max_result_bytes,
    )


def _command(server: str | Sequence[str]) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(server)) if isinstance(server, str) else tuple(server)
    except ValueError as error:
        raise ValueError(f"mcp({server!r}): the command line cannot be split: {error}") from None
    if not words or not words[0] or any("\0" in word for word in words):
        raise ValueError(f"mcp({server!r}): give a command line, or an http(s) URL")
    return words


def _name_of_command(command: tuple[str, ...]) -> str:
    """The first word that names a program: ``uvx some-server --flag`` is ``some-server``."""
    for word in command:
        base = PurePath(word.partition("=")[0]).name.removesuffix(".py").removesuffix(".js")
        if not word.startswith("-") and re.sub(r"[\d.]+$", "", base) not in _RUNNERS:
            return _as_name(re.split(r"(?<!^)@", base)[0])
    return _as_name(PurePath(command[0]).name)


def _name_of_url(url: str) -> str:
    parts = urlsplit(url)
    words = [word for word in (parts.hostname or "").split(".") if word not in ("www", "mcp", "api")]
    return _as_name(words[0] if words and not words[0].isdigit() else parts.hostname or "")


def _as_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_")[:_SHORT] or "mcp"
