"""``interlock codec-server``: decodes for the Temporal Web UI, on this machine."""

from __future__ import annotations

import ipaddress
import re
import sys
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from cyclopts import Parameter

from interlock.cli import OK
from interlock.cli.options import Misused

if TYPE_CHECKING:
    from interlock.codec_server import CodecServer


def codec_server(
    *,
    host: Annotated[str, Parameter(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="The port to listen on; 0 takes a free one.")] = 8081,
    origin: Annotated[
        list[str] | None,
        Parameter(negative="", help="A web page that may ask, such as http://localhost:8233; may be repeated."),
    ] = None,
    expose: Annotated[
        bool, Parameter(negative="", show_default=False, help="Allow an address that other machines reach.")
    ] = False,
    new_key: Annotated[
        bool, Parameter(negative="", show_default=False, help="Print a new key for INTERLOCK_ENCRYPTION_KEY, and end.")
    ] = False,
) -> int:
    """Let the Temporal Web UI show what is encrypted, with the keys of INTERLOCK_ENCRYPTION_KEY.

    Everything that the keys open is shown to whoever reaches the address: by default this machine alone. Set the
    address it prints as the codec endpoint in the Web UI's settings. Without --origin the Web UI of INTERLOCK_UI_URL
    may ask, else the development server's.
    """
    if new_key:
        from interlock.keys import new_key as make

        print(make())
        return OK
    if not (expose or _is_loopback(host)):
        raise Misused(f"--host {host}: other machines may reach it, and read everything; say --expose if they are to")
    if not 0 <= port <= 65535:
        raise Misused(f"--port {port}: a port is between 0 and 65535")
    with _listening(host, port, [_origin(each) for each in origin or _of_the_ui()]) as server:
        here = f"{f'[{host}]' if ':' in host else host}:{server.server_address[1]}"
        print(f"codec endpoint: http://{here} for {', '.join(sorted(server.origins))}", flush=True)
        if not _is_loopback(host):
            print(
                f"interlock: whoever reaches {here} reads every payload that the keys open, without a password",
                file=sys.stderr,
            )
        server.serve_forever(poll_interval=0.2)
    return OK


def _listening(host: str, port: int, origins: list[str]) -> CodecServer:
    from interlock.errors import BadKey, InterlockError
    from interlock.keys import HINT, VARIABLE, Keys

    keys = Keys.of_environment()
    if keys is None:
        raise BadKey(f"{VARIABLE} is not set: {HINT}")
    try:
        from interlock.codec_server import CodecServer
    except ImportError as error:
        raise BadKey(f"{error.name or 'cryptography'} is not installed: pip install 'interlock[encryption]'") from None
    try:
        return CodecServer((host, port), keys, origins)
    except OSError as error:
        raise InterlockError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None


def _of_the_ui() -> list[str]:
    from interlock.present import ui_url

    parts = urlsplit(ui_url())
    return [f"{parts.scheme}://{parts.netloc}"]


def _origin(text: str) -> str:
    """An origin as browsers send it. ``*`` is none: it would let every web page read."""
    if not re.fullmatch(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?", text):
        raise Misused(f"--origin {text}: an origin is scheme, host and port, such as http://localhost:8233")
    return text.rstrip("/").lower()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
