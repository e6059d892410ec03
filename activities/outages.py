"""Which exceptions of a tool tell that what it calls is down. A tool that ran and failed says nothing of the kind."""

from __future__ import annotations

import http.client
import socket
import ssl

_OURS = (ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError, http.client.HTTPException)

# By name, in any library: nobody should have to install one so that another's errors are understood.
_THEIRS = {
    "ClientConnectionError",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionError",
    "NetworkError",
    "ProtocolError",
    "ReadTimeout",
    "ServerDisconnectedError",
    "TimeoutError",
    "TimeoutException",
    "TransportError",
}

_MOST = 50
"""Exceptions that are looked at: a chain of them may be a ring."""


def tells_of_outage(error: BaseException | None) -> bool:
    """Connection errors, time-outs and answers of 500 and above: of ``error``, of what it was raised from or gives as
    its reason, and of any in a group of them."""
    waiting, seen = [error], 0
    while waiting and seen < _MOST:
        each, seen = waiting.pop(), seen + 1
        if each is None:
            continue
        if isinstance(each, _OURS) or any(kind.__name__ in _THEIRS for kind in type(each).__mro__):
            return True
        if _status(each) >= 500:
            return True
        reason = getattr(each, "reason", None)
        waiting += [each.__cause__, reason if isinstance(reason, BaseException) else None]
        waiting += each.exceptions if isinstance(each, BaseExceptionGroup) else []
    return False


def _status(error: BaseException) -> int:
    """The status of an answer that a client library raised for: ``.response.status_code``, ``.status`` or ``.code``."""
    response = getattr(error, "response", None)
    for found in (getattr(response, "status_code", None), getattr(error, "status", None), getattr(error, "code", None)):
        if isinstance(found, int) and not isinstance(found, bool) and 100 <= found < 600:
            return found
    return 0
