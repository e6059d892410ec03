"""``alert``: a structured log line, a metric, and a JSON POST to ``INTERLOCK_ALERT_WEBHOOK`` where it is set."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request

import structlog
from temporalio import activity

from interlock import ports
from interlock.contracts import Alert
from interlock.telemetry import names
from interlock.telemetry.metrics import Instruments

log = structlog.get_logger("interlock.alerts")


class AlertActivity(ports.Alerts):
    @activity.defn(name="alert")
    async def alert(self, alert: Alert) -> None:
        if activity.info().attempt == 1:  # once, however often the webhook is tried
            log.warning("alert", kind=alert.kind, text=alert.text, key=alert.key, **alert.fields)
            Instruments(activity.metric_meter()).add(names.ALERTS, kind=alert.kind)
        if url := os.environ.get("INTERLOCK_ALERT_WEBHOOK"):
            await asyncio.to_thread(_post, url, alert)


def _post(url: str, alert: Alert) -> None:
    """One POST. A status of 400 and above raises, and the activity is tried again."""
    if not url.startswith(("http://", "https://")):
        raise ValueError("INTERLOCK_ALERT_WEBHOOK must be an http:// or https:// address")
    body = json.dumps(alert.model_dump(mode="json")).encode()
    request = urllib.request.Request(url, data=body, headers={"content-type": "application/json"}, method="POST")  # noqa: S310
    with urllib.request.urlopen(request, timeout=5):  # noqa: S310
        pass
