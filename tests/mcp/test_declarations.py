"""``mcp(...)``: what it makes of a command or a URL, and an error at import when it cannot."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from interlock import Agent, mcp
from interlock.agent_tools import NAME


@pytest.mark.parametrize(
    ("server", "name", "place"),
    [
        ("uvx some-server", "some-server", "uvx some-server"),
        ("npx -y @acme/server-files@1.2 /data", "server-files", "npx -y @acme/server-files@1.2 /data"),
        ("python3.11 -m acme.server", "acme_server", "python3.11 -m acme.server"),
        ("/opt/tools/files.py 'a b'", "files", "/opt/tools/files.py 'a b'"),
        (["sh", "-c", "exec it"], "exec_it", "sh -c 'exec it'"),
        ("https://mcp.acme.dev/mcp?key=secret", "acme", "https://mcp.acme.dev/mcp"),
        ("https://user:secret@acme.dev:8443/x", "acme", "https://acme.dev:8443/x"),
        ("http://127.0.0.1:8000/mcp", "127_0_0_1", "http://127.0.0.1:8000/mcp"),
    ],
)
def test_the_name_and_the_place_of_a_server(server: Any, name: str, place: str) -> None:
    declared = mcp(server)
    assert (declared.name, declared.place) == (name, place)
    assert "secret" not in place


@pytest.mark.parametrize(
    ("server", "options", "said"),
    [
        ("", {}, "give a command line, or an http(s) URL"),
        ([], {}, "give a command line"),
        ("x\0y", {}, "give a command line"),
        ("uvx 'open", {}, "the command line cannot be split: No closing quotation"),
        ("http:///x", {}, "the URL names no host"),
        ("uvx x", {"name": "a b"}, "mcp server 'a b': use 1 to 48 of A-Z a-z 0-9 _ -"),
        ("uvx x", {"name": "n" * 49}, "use 1 to 48"),
        ("uvx x", {"effects": {"t": "reads"}}, "effect 'reads' of t is not one of"),
        ("uvx x", {"allow": ["a"], "effects": {"b": "read"}}, "effects names 'b', which allow does not"),
        ("uvx x", {"env": {"A": 1}}, "env['A'] must be text or a Secret, not int"),
        ("uvx x", {"headers": {"A": "b"}}, "headers are for a server at a URL"),
        ("http://h/", {"env": {"A": "b"}}, "env and cwd are for a process"),
        ("uvx x", {"timeout": 0}, "must be more than 0 seconds"),
        ("uvx x", {"start_timeout": -1.0}, "must be more than 0 seconds"),
        ("uvx x", {"max_result_bytes": 1}, "must be at least 256"),
    ],
)
def test_a_mistake_is_named_when_it_is_made(server: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(said)):
        mcp(server, **options)


def test_what_its_tools_are_called() -> None:
    server = mcp("uvx x", name="files")
    assert server.tool_name("read") == "files_read"
    assert server.tool_name("a.b/c d") == "files_a_b_c_d"
    long, other = server.tool_name("n" * 100), server.tool_name("n" * 99)
    assert len(long) == 64
    assert long != other
    assert NAME.fullmatch(long)
    assert server.dependency("a.b") == "tool:files/a.b"


def test_a_declaration_starts_nothing_and_shows_no_secret() -> None:
    server = mcp("uvx some-server", env={"TOKEN": "s3cret"})
    assert "s3cret" not in repr(server)
    assert "s3cret" not in repr(Agent(name="a", instructions="", models="scripted:x", tools=[server]))
    program = "import interlock, sys; interlock.mcp('uvx x'); print(sorted(m for m in sys.modules if m == 'mcp'))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
