"""``Secret``: a value that tools need and nobody else may see, and the one function that takes it out of text again.

    TOKEN = Secret("GITHUB_TOKEN")

    @tool(effect="read")
    async def issues(repository: str) -> str:
        \"\"\"List the open issues.\"\"\"
        ... headers={"Authorization": f"Bearer {TOKEN.reveal()}"}

The value is read from the worker's environment when the tool asks for it. From then on this process knows it, and
takes it out of everything that leaves: results, failures, log lines, spans. Known to the process and not to the call
alone: a tool may keep a client it made in an earlier call, or start threads of its own.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from typing import NoReturn
from urllib.parse import quote, quote_plus

from interlock.errors import ToolError

SHORTEST = 6
"""Characters. A shorter value is found in texts that have nothing to do with it, and a guess finds it at once."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_lock = threading.Lock()
_revealed: dict[str, str] = {}  # a form of a value -> the name of its variable
_in_order: tuple[tuple[str, str], ...] = ()  # the same, longest first: a form may hold another


class Secret:
    """The name of an environment variable of the worker. It can be shown, logged and compared; its value cannot.

    Raises ``ValueError`` for what is no name of a variable (the value itself, given by mistake)."""

    __slots__ = ("name",)

    name: str

    def __init__(self, name: str) -> None:
        if not _VARIABLE.fullmatch(name):
            raise ValueError('Secret takes the name of an environment variable, such as Secret("GITHUB_TOKEN")')
        object.__setattr__(self, "name", name)

    def reveal(self) -> str:
        """The value, from the environment of this process. Raises ``ToolError`` when it is not there or too short."""
        value = os.environ.get(self.name, "")
        where = f"the environment of the worker (process {os.getpid()} on {socket.gethostname()})"
        if not value:
            raise ToolError(f"the secret {self.name} is not in {where}; whoever runs it must set it there")
        if len(value) < SHORTEST:
            raise ToolError(
                f"the secret {self.name} in {where} has fewer than {SHORTEST} characters: it could not be told "
                "from other text, and kept out of it"
            )
        _remember(self.name, value)
        return value

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"

    def __str__(self) -> str:
        return _label(self.name)

    def __format__(self, specification: str) -> str:
        return format(str(self), specification)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.name == self.name

    def __hash__(self) -> int:
        return hash((Secret, self.name))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret cannot be changed")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memory: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} stays where it is: pass its name, and make a Secret where it is needed")


def redacted(text: str) -> str:
    """``text`` with ``[secret NAME]`` in place of every value that was revealed in this process, also where it is
    quoted for a URL or for JSON, in base64 or in hexadecimal digits."""
    for form, name in _in_order:
        if form in text:
            text = text.replace(form, _label(name))
    return text


def _label(name: str) -> str:
    return f"[secret {name}]"


def _remember(name: str, value: str) -> None:
    global _in_order  # noqa: PLW0603  # replaced whole: who reads it needs no lock
    with _lock:
        if _revealed.get(value) is not None:
            return
        for form in _forms(value):
            _revealed.setdefault(form, name)
        _in_order = tuple(sorted(_revealed.items(), key=lambda pair: -len(pair[0])))


def _forms(value: str) -> Iterator[str]:
    """How a value may appear in text. The shortest forms are left out, as short values are."""
    data = value.encode(errors="surrogateescape")
    plain = data.decode(errors="replace")
    yield value
    yield plain
    yield repr(plain)[1:-1]
    for to_ascii in (True, False):
        quoted = plain
        for _ in range(3):  # a result in JSON that holds a text in JSON, in a log line in JSON
            quoted = json.dumps(quoted, ensure_ascii=to_ascii)[1:-1]
            yield quoted
    yield from (quote(data), quote(data, safe=""), quote_plus(data), quote(data, safe="").lower())
    yield from (binascii.hexlify(data).decode(), binascii.hexlify(data).decode().upper())
    # A key of several lines: an error message shows one of them.
    yield from (line for line in plain.splitlines() if len(line) >= 2 * SHORTEST)
    # "user:value" in base64 holds the value at any of three offsets, without the characters it shares with neighbours.
    for before in range(3):
        digits = base64.b64encode(b"\0" * before + data)
        own = digits[-(-before * 8 // 6) : (before + len(data)) * 8 // 6].decode()
        if len(own) >= SHORTEST:
            yield from (own, own.replace("+", "-").replace("/", "_"))
