"""The codec server: lets the Temporal Web UI and CLI show what is encrypted (``POST /decode``), and encrypt what they
send (``POST /encode``). Temporal's remote codec protocol, on the standard library's HTTP server.

Whoever reaches it reads everything its keys open. So it listens on loopback unless told otherwise, and answers web
pages of its allowed origins only: a page from anywhere else that a browser on this machine shows is refused.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import WorkflowSerializationContext

from interlock.encryption import Encryption, Sealed
from interlock.keys import Keys
from interlock.tombstones import ENCRYPTED

MOST_BYTES = 16 * 1024 * 1024
"""Bytes of a request: some pages of a history, of 4 MiB each at most, in base64."""

PATIENCE = 10.0
"""Seconds that a connection may be silent."""

WORKFLOW = "X-Interlock-Workflow"
"""Says for which workflow to encrypt. The protocol has no field for it."""


class Refused(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class CodecServer(ThreadingHTTPServer):
    """``origins``: of the web pages that may ask, such as ``http://localhost:8233``."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], keys: Keys, origins: Sequence[str]) -> None:
        self.codec = Encryption(keys)
        self.origins = frozenset(origins)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: CodecServer
    server_version, sys_version = "interlock-codec", ""
    timeout = PATIENCE

    def do_OPTIONS(self) -> None:
        self._answer(self._preflight)

    def do_POST(self) -> None:
        self._answer(self._work)

    def do_GET(self) -> None:
        self._answer(self._nothing_here)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a line for each page of a history that somebody looks at helps nobody."""

    def _answer(self, work: Callable[[], dict[str, Any] | None]) -> None:
        try:
            origin = self.headers.get("Origin")
            if origin is not None and origin not in self.server.origins:
                raise Refused(403, f"origin {origin[:200]!r} is not allowed; interlock codec-server --origin allows it")
            status, body = 200, work()
        except Refused as error:
            status, body = error.status, {"error": str(error)}
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(204 if body is None else status)
        self._allow()
        if data:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        # What could not be read in whole must not be taken for the next request.
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        self.wfile.write(data)

    def _allow(self) -> None:
        origin = self.headers.get("Origin")
        self.send_header("Vary", "Origin")
        if origin not in self.server.origins:
            return
        self.send_header("Access-Control-Allow-Origin", origin)
        if self.command == "OPTIONS":
            self.send_header("Access-Control-Allow-Methods", "POST, OPTIONS")
            self.send_header("Access-Control-Allow-Headers", f"Content-Type, X-Namespace, Authorization, {WORKFLOW}")
            self.send_header("Access-Control-Max-Age", "600")
            if self.headers.get("Access-Control-Request-Private-Network") == "true":
                self.send_header("Access-Control-Allow-Private-Network", "true")

    def _preflight(self) -> None:
        return None

    def _nothing_here(self) -> dict[str, Any]:
        raise Refused(404, "there is POST /decode and POST /encode")

    def _work(self) -> dict[str, Any]:
        path = self.path.partition("?")[0].rstrip("/")
        if path not in ("/decode", "/encode"):
            return self._nothing_here()
        payloads = self._payloads()
        namespace = self.headers.get("X-Namespace", "")
        if not namespace:
            raise Refused(400, "the header X-Namespace is missing")
        if path == "/encode":
            done = [self._encoder(namespace).seal(each) for each in payloads.payloads]
        else:
            done = [decoded(self.server.codec, each, namespace) for each in payloads.payloads]
        return MessageToDict(Payloads(payloads=done))

    def _encoder(self, namespace: str) -> Encryption:
        workflow = self.headers.get(WORKFLOW, "")
        if not workflow:
            raise Refused(
                400,
                "a payload is encrypted for one workflow, and Temporal's protocol does not say for which; send runs "
                f"what you have to say with the interlock command, or with the header {WORKFLOW}: <workflow id>",
            )
        return self.server.codec.with_context(WorkflowSerializationContext(namespace=namespace, workflow_id=workflow))

    def _payloads(self) -> Payloads:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 19):
            raise Refused(411, "the header Content-Length is missing")
        if int(length) > MOST_BYTES:
            raise Refused(413, f"{length} bytes are too many; at most {MOST_BYTES}")
        try:
            said = json.loads(self.rfile.read(int(length)))
            if not isinstance(said, dict):
                raise ValueError("not an object")
            found: Payloads = ParseDict(said, Payloads())
        except (ValueError, RecursionError, ParseError, AttributeError, TypeError, OSError):
            raise Refused(400, 'the body is not JSON of the form {"payloads": [...]}') from None
        return found


def decoded(codec: Encryption, payload: Payload, namespace: str) -> Payload:
    """What the Web UI is to show: one payload that does not open must not hide the others. What is not encrypted is
    left as it is."""
    if payload.metadata.get("encoding") != ENCRYPTED:
        return payload
    try:
        opened, place = codec.open(payload)
        if place.namespace and place.namespace != namespace:
            raise Sealed(f"it belongs to namespace {place.namespace}")
    except Sealed as error:
        said = json.dumps(f"cannot be read: {error}").encode()
        return Payload(metadata={"encoding": b"json/plain"}, data=said)
    return opened
