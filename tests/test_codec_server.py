"""The codec server over real HTTP: the command as people start it, and what it refuses."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import SerializationContext, WorkflowSerializationContext

from interlock.codec_server import MOST_BYTES
from interlock.encryption import Encryption
from interlock.keys import Keys, new_key

UI = "http://localhost:8233"
KEY = new_key()
HERE = WorkflowSerializationContext(namespace="default", workflow_id="wf")
HELLO = Payload(metadata={"encoding": b"json/plain"}, data=b'"hello"')


@dataclass
class Server:
    port: int

    def ask(
        self, path: str, body: Any = None, *, method: str = "POST", namespace: str = "default", **headers: str
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=25)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, data, {**({"X-Namespace": namespace} if namespace else {}), **named})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if text else None, answer.headers


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    environment = {**os.environ, "INTERLOCK_ENCRYPTION_KEY": KEY}
    command = [sys.executable, "-m", "interlock.cli", "codec-server", "--port", "0", "--origin", UI]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        yield Server(int(said.split(" for ")[0].rpartition(":")[2]))
        process.send_signal(signal.SIGINT)
        assert process.wait(25) == 130


def sealed(context: SerializationContext = HERE, key: str = KEY) -> Payload:
    return Encryption(Keys.parse(key)).with_context(context).seal(HELLO)


def wire(*payloads: Payload) -> dict[str, Any]:
    return MessageToDict(Payloads(payloads=payloads))


def read(body: Any) -> list[Payload]:
    return list(ParseDict(body, Payloads()).payloads)


def test_it_decodes_what_belongs_to_the_namespace(server: Server) -> None:
    status, body, headers = server.ask("/decode", wire(sealed(), HELLO), Origin=UI)
    assert status == 200
    assert read(body) == [HELLO, HELLO]
    assert headers["Access-Control-Allow-Origin"] == UI


def test_one_that_does_not_open_says_why_and_hides_no_other(server: Server) -> None:
    altered = sealed()
    altered.data = altered.data[:-1] + bytes([altered.data[-1] ^ 1])
    foreign = WorkflowSerializationContext(namespace="elsewhere", workflow_id="wf")
    asked = wire(altered, sealed(key=new_key()), sealed(foreign), sealed())
    status, body, _ = server.ask("/decode", asked)
    assert status == 200
    said = [json.loads(each.data) for each in read(body)]
    assert "altered" in said[0]
    assert "does not hold" in said[1]
    assert "namespace elsewhere" in said[2]
    assert said[3] == "hello"


def test_it_encrypts_for_the_workflow_that_is_named(server: Server) -> None:
    status, body, _ = server.ask("/encode", wire(HELLO), X_Interlock_Workflow="wf")
    assert status == 200
    [made] = read(body)
    assert b"hello" not in made.SerializeToString()
    codec = Encryption(Keys.parse(KEY)).with_context(HERE)
    assert asyncio.run(codec.decode([made])) == [HELLO]
    status, body, _ = server.ask("/encode", wire(HELLO))
    assert status == 400
    assert "X-Interlock-Workflow" in body["error"]


def test_a_browser_asks_first_and_is_answered_for_its_own_pages_only(server: Server) -> None:
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type,x-namespace"}
    status, _, headers = server.ask("/decode", method="OPTIONS", Origin=UI, **asked)
    assert status == 204
    assert headers["Access-Control-Allow-Origin"] == UI
    assert "X-Namespace" in headers["Access-Control-Allow-Headers"]
    assert "POST" in headers["Access-Control-Allow-Methods"]
    assert headers["Vary"] == "Origin"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:8233.evil.example", "http://localhost", "*"]
)
@pytest.mark.parametrize("method", ["OPTIONS", "POST"])
def test_a_page_from_elsewhere_is_refused_and_reads_nothing(server: Server, origin: str, method: str) -> None:
    status, body, headers = server.ask("/decode", wire(sealed()), method=method, Origin=origin)
    assert status == 403
    assert "not allowed" in body["error"]
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/decode", b"", 400),
        ("/decode", b"{", 400),
        ("/decode", b"\xff\xfe", 400),
        ("/decode", b"[]", 400),
        ("/decode", b'"x"', 400),
        ("/decode", b"null", 400),
        ("/decode", b'{"payloads": 3}', 400),
        ("/decode", b'{"payloads": [3]}', 400),
        ("/decode", b'{"payloads": [{"data": "%%%", "metadata": {"encoding": 1}}]}', 400),
        ("/decode", b'{"unknown": []}', 400),
        ("/decode", b"[" * 100_000, 400),
        ("/", b"{}", 404),
        ("/decode/../encode/x", b"{}", 404),
        ("/download", b"{}", 404),
    ],
)  # fmt: skip
def test_garbage_is_refused_as_json_and_the_server_lives(server: Server, path: str, body: bytes, status: int) -> None:
    got, said, _ = server.ask(path, body)
    assert got == status
    assert isinstance(said["error"], str)
    assert server.ask("/decode", {"payloads": []})[0] == 200


def test_what_is_missing_is_named(server: Server) -> None:
    assert "X-Namespace" in server.ask("/decode", wire(sealed()), namespace="")[1]["error"]
    assert server.ask("/decode", method="GET")[0] == 404


def test_a_request_that_is_too_large_is_refused_unread(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=25) as connection:
        head = f"POST /decode HTTP/1.1\r\nHost: x\r\nX-Namespace: default\r\nContent-Length: {MOST_BYTES + 1}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.0 413")
    with socket.create_connection(("127.0.0.1", server.port), timeout=25) as connection:
        connection.sendall(b"POST /decode HTTP/1.1\r\nHost: x\r\nX-Namespace: default\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.0 411")
