"""One renderer for every line of a process: workflow, activity, client, SDK, and the SDK's core.

All of them pass through the standard library's logging and are rendered once, by structlog. ``workflow.logger`` is
silent on replay, structlog's own loggers in a workflow are not. Every line of a run says whose it is:
lines of a workflow are asked of the run itself, those of an activity are bound where the attempt begins.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any, Literal, TextIO, get_args

import structlog
from structlog.typing import EventDict, Processor
from temporalio import activity, workflow

from interlock.errors import BadRequest
from interlock.secrets import redacted
from interlock.telemetry.redaction import Redaction, redaction

LogFormat = Literal["json", "console"]

FORMATS = get_args(LogFormat)
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

CONTENT_BYTES = 2048
"""Of a prompt, an output, an argument that goes to the log with ``INTERLOCK_LOG_CONTENT=1``."""

# Without the values of local variables: they hold prompts and secrets.
_TRACEBACK = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)


def configure_logging(
    style: LogFormat | None = None, level: str | None = None, *, stream: TextIO | None = None
) -> None:
    """Render every line of this process, to ``stream`` or stderr: ``json``, or ``console`` for people.

    Defaults: ``INTERLOCK_LOG`` (``json`` or ``console``; else ``console`` in a terminal), ``INTERLOCK_LOG_LEVEL``.
    ``INTERLOCK_LOG_REDACT``: more names, separated by commas, whose values never show. Raises ``BadRequest`` for a
    variable that says something else."""
    chosen = style or _one_of("INTERLOCK_LOG", FORMATS) or ("console" if sys.stderr.isatty() else "json")
    chosen_level = level or _one_of("INTERLOCK_LOG_LEVEL", LEVELS) or "INFO"
    before = _before(redaction())
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *before],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_last(chosen), without_secrets],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(chosen_level)
    logging.captureWarnings(True)
    for noisy in ("httpx", "httpx2", "httpcore", "openai", "anthropic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # What the SDK would write behind the message is in fields of their own.
    workflow.logger.workflow_info_on_message = False
    activity.logger.activity_info_on_message = False


def _one_of(variable: str, known: tuple[str, ...]) -> str | None:
    """What ``variable`` says, in whatever case; ``None``: nothing."""
    given = os.environ.get(variable, "").strip()
    said = next((each for each in known if each.lower() == given.lower()), None)
    if given and said is None:
        raise BadRequest(f"{variable} is one of {', '.join(known)}; got {given[:60]!r}")
    return said


def without_secrets(logger: Any, method: str, rendered: Any) -> str:
    """The last processor: whatever a line was made of, no value of a ``Secret`` leaves with it."""
    return redacted(str(rendered))


def _before(redact: Redaction) -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        _whose,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        redact,
    ]


def _last(style: str) -> list[Processor]:
    if style == "json":
        return [
            structlog.processors.ExceptionRenderer(_TRACEBACK),
            _head_first,
            structlog.processors.JSONRenderer(),
        ]
    colours = sys.stderr.isatty()
    return [structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)]


def _head_first(logger: Any, method: str, event: EventDict) -> EventDict:
    """When, how bad, what: where the eye looks for them."""
    return {**{name: event[name] for name in ("timestamp", "level", "event", "logger") if name in event}, **event}


def _whose(logger: Any, method: str, event: EventDict) -> EventDict:
    """Say which run a line is about, in the words that all lines use instead of the SDK's.

    A run is known by its workflow's id: what Temporal calls a run id changes with continue-as-new and reset."""
    details = {**event.pop("temporal_workflow", {}), **event.pop("temporal_activity", {})}
    event.pop("__temporal_error_identifier", None)
    if (core := event.pop("temporal_log", None)) is not None:
        details.update(core.fields)
    if workflow.in_workflow():
        told = getattr(workflow.instance(), "seen_as", None)
        fields = told() if told is not None else {"workflow_id": workflow.info().workflow_id}
        return {**fields, **event}
    if "workflow_id" in details and "run_id" not in event:
        event["run_id" if details.get("workflow_type") == "AgentRun" else "workflow_id"] = details["workflow_id"]
    for name in ("attempt", "activity_type", "error", "task_queue"):
        if name in details and name not in event:
            event[name] = details[name]
    return event


def content(**texts: str) -> dict[str, str]:
    """Prompts and outputs as fields of a line: none, unless ``INTERLOCK_LOG_CONTENT=1``. Cut, and when they are JSON
    redacted like everything else."""
    if os.environ.get("INTERLOCK_LOG_CONTENT") != "1":
        return {}
    return {name: _cut(_redacted(text)) for name, text in texts.items()}


def _redacted(text: str) -> str:
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.dumps(redaction().of(json.loads(text)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _cut(text: str) -> str:
    data = text.encode(errors="replace")
    return text if len(data) <= CONTENT_BYTES else data[:CONTENT_BYTES].decode(errors="ignore") + "…"
