"""Logs, traces and metrics: the only place that configures globals.

Workflow, activity and SDK lines all pass through the standard library's logging and are rendered once, by
structlog: ``workflow.logger`` is silent on replay, structlog's own loggers in a workflow are not.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, Literal

import structlog

from interlock.secrets import redacted

LogFormat = Literal["json", "console"]


# Without the values of local variables: they hold prompts and secrets.
_TRACEBACK = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)


def without_secrets(logger: Any, method: str, rendered: Any) -> str:
    """The last processor: whatever a line was made of, no value of a ``Secret`` leaves with it."""
    return redacted(str(rendered))


def configure_logging(style: LogFormat | None = None, level: str | None = None) -> None:
    """Render every line of this process: ``json``, or ``console`` for people.

    Defaults: ``INTERLOCK_LOG`` (``json`` or ``console``; else ``console`` in a terminal), ``INTERLOCK_LOG_LEVEL``."""
    chosen = style or os.environ.get("INTERLOCK_LOG") or ("console" if sys.stderr.isatty() else "json")
    before: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if chosen == "json":
        last: list[structlog.typing.Processor] = [
            structlog.processors.ExceptionRenderer(_TRACEBACK),
            structlog.processors.JSONRenderer(),
        ]
    else:
        last = [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last, without_secrets],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel((level or os.environ.get("INTERLOCK_LOG_LEVEL") or "INFO").upper())
    for noisy in ("httpx", "httpx2", "httpcore", "openai", "anthropic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
