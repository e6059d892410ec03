"""pydantic-ai's errors and ours: what kind of failure it was, whether it was billed, and what mends it."""

from __future__ import annotations

import json
import os
import re
import traceback
from typing import Any

import structlog
from pydantic_ai import exceptions as theirs

from interlock.errors import Failure, Fate, Kind, kind_of_status

log = structlog.get_logger("interlock.providers")

# What the classes of pydantic-ai's errors that need no status are to us, most specific first.
_KINDS: tuple[tuple[type[Exception], Kind], ...] = (
    (theirs.ModelQuotaExceededError, "ModelRejected"),
    (theirs.ModelTimeoutError, "ModelTimeout"),
    (theirs.ModelRequestTimeout, "ModelTimeout"),
    (theirs.ModelConnectionError, "ModelUnavailable"),
    (theirs.ModelOverloadedError, "ModelOverloaded"),
)

_KEYS = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
    "openai-chat": "OPENAI_API_KEY",
    "openai-responses": "OPENAI_API_KEY",
}

# A gateway that gave up waiting does not know what the model behind it went on to do, and to bill.
_GAVE_UP_WAITING = (408, 504, 524)

# 409 and 425 are of this one request, which may be sent again; nothing that others are asked is down.
_OF_ITSELF = (409, 425)


def failure(model: str, error: Exception) -> Failure:
    """What went wrong with a request, as one of ours."""
    match error:
        case theirs.ModelAPIError():
            return _refused(model, error)
        case theirs.UserError():
            return Failure("ModelRejected", f"{model}: {_line(error)}")
        case _:
            # It answered, and very likely billed; what it said is no answer in its own format.
            where = traceback.format_tb(error.__traceback__)[-5:]
            log.warning("model.unreadable", model=model, error=_line(error), where="".join(where))
            return Failure("ModelReplyInvalid", f"{model}: cannot be read: {_named(error)}", fate="unknown")


def cannot_begin(model: str, error: Exception) -> Failure:
    """No client can be made for ``model``: no request was made, and none will be."""
    return Failure("ModelRejected", f"{model}: {_line(error)}. {_key_to_check(model)}")


def _refused(model: str, error: theirs.ModelAPIError) -> Failure:
    status, said = _status(error), _hidden(model, _said(error))
    kind = _kind(error, status, said)
    text = f"{model}: {f'HTTP {status}: ' if status else ''}{said}{_mend(model, error, status, kind)}"
    outage = False if status in _OF_ITSELF else None
    return Failure(kind, text, retry_after=_retry_after(error), fate=_fate(error, status), outage=outage)


def _status(error: theirs.ModelAPIError) -> int | None:
    """The HTTP status, also of those that pydantic-ai has no class for, such as a redirect."""
    status = getattr(error, "status_code", None) or getattr(error.__cause__, "status_code", None)
    return status if isinstance(status, int) and not 200 <= status < 300 else None


def _kind(error: theirs.ModelAPIError, status: int | None, said: str) -> Kind:
    if (kind := next((ours for cls, ours in _KINDS if isinstance(error, cls)), None)) is not None:
        return kind
    if status is not None:
        # Without addresses: a rate limit that links to ".../billing" is no trouble with the bill.
        words = re.sub(r"https?://\S+", "", said)
        return kind_of_status(status, f"{words} {error.provider_error_code or ''} {error.provider_error_type or ''}")
    if error.__cause__ is None or isinstance(error.__cause__, ValueError):
        return "ModelReplyInvalid"  # a body that cannot be decoded
    return "ModelUnavailable"


def _fate(error: theirs.ModelAPIError, status: int | None) -> Fate:
    """Refused with a status, or never sent: not billed. Sent and then silence: nobody can tell."""
    if status is not None:
        return "unknown" if error.in_stream or status in _GAVE_UP_WAITING else "unbilled"
    if isinstance(error, theirs.ModelConnectionError) and error.phase in ("pool", "connect"):
        return "unbilled"
    return "unknown"


def _retry_after(error: theirs.ModelAPIError) -> float | None:
    """Seconds the provider asked to wait; pydantic-ai reads whole seconds, milliseconds and dates."""
    if error.retry_after is not None:
        return error.retry_after
    headers: Any = getattr(error, "headers", None) or {}
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _said(error: theirs.ModelAPIError) -> str:
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        message = inner.get("message") if isinstance(inner, dict) else inner
        return _one_line(str(message)) if message else json.dumps(body)[:500]
    return _one_line(str(body)) if body else _line(error)


def _mend(model: str, error: theirs.ModelAPIError, status: int | None, kind: Kind) -> str:
    """Which variable or setting to mend, for the failures that no retry mends."""
    provider, _, name = model.partition(":")
    if isinstance(error, theirs.ModelConnectionError) and error.phase == "connect":
        return f" No connection could be made, so nothing was sent{_base_url(provider)}"
    if kind != "ModelRejected":
        return ""
    match error:
        case theirs.ModelAuthenticationError():
            return f". {_key_to_check(model)}"
        case theirs.ModelNotFoundError():
            return f". Check the agent's models: {provider} knows no {name!r}{_base_url(provider)}"
        case theirs.ModelContextWindowExceededError():
            return ". The conversation is longer than this model reads: check the agent's models and tools' results"
        case _ if status in (402, 429) or isinstance(error, theirs.ModelQuotaExceededError):
            return f". The account behind {_key(provider)} has no credit or quota left"
        case _ if status is not None and 300 <= status < 400:
            return f". The address redirects{_base_url(provider)}"
        case _:
            return ". Check the agent's models, tools and max_output_tokens: the provider refuses this request as it is"


def _key(provider: str) -> str:
    return _KEYS.get(provider, f"the credentials of {provider}")


def _key_to_check(model: str) -> str:
    key = _key(model.partition(":")[0])
    return f"Check {key} in the worker's environment: it is missing, wrong, or may not use this model"


def _base_url(provider: str) -> str:
    key = _KEYS.get(provider)
    return "" if key is None else f" (check {key.replace('_API_KEY', '_BASE_URL')} too, if it is set)"


def _hidden(model: str, said: str) -> str:
    """What a provider says, without our own key in it: messages go into histories."""
    secret = os.environ.get(_KEYS.get(model.partition(":")[0], ""), "")
    return said.replace(secret, "***") if len(secret) >= 8 else said


def _named(error: Exception) -> str:
    known = isinstance(error, theirs.UnexpectedModelBehavior)
    return _line(error) if known else f"{type(error).__name__}: {_line(error)}"


def _line(error: Exception) -> str:
    return _one_line(str(error)) or type(error).__name__


def _one_line(text: str) -> str:
    lines = text.strip().splitlines()
    said = lines[0][:500] if lines else ""
    return said.encode(errors="replace").decode()
