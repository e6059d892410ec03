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
    "NetworkError",
    "ReadTimeout",
    "ServerDisconnectedError",
    "TimeoutException",
    "TransportError",
}


def tells_of_outage(error: BaseException | None) -> bool:
    """Connection errors, time-outs and answers of 500 and above, of ``error`` or of what it was raised from."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, _OURS) or any(each.__name__ in _THEIRS for each in type(error).__mro__):
            return True
        if _status(error) >= 500:
            return True
        error, seen = error.__cause__, seen + 1
    return False


def _status(error: BaseException) -> int:
    """The status of an answer that a client library raised for: ``.response.status_code``, ``.status`` or ``.code``."""
    response = getattr(error, "response", None)
    for found in (getattr(response, "status_code", None), getattr(error, "status", None), getattr(error, "code", None)):
        if isinstance(found, int) and not isinstance(found, bool) and 100 <= found < 600:
            return found
    return 0
