"""``alert``: what an entity wants people to know, told by ``activities.alerting``."""

from __future__ import annotations

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.alerting import Alerting, NotDelivered
from interlock import ports
from interlock.contracts import Alert
from interlock.telemetry.metrics import Instruments


class AlertActivity(ports.Alerts):
    """``instruments``: the worker's. The series of an activity would be others than those that began at zero."""

    def __init__(self, alerting: Alerting, instruments: Instruments) -> None:
        self._alerting = alerting
        self._instruments = instruments

    @activity.defn(name="alert")
    async def alert(self, alert: Alert) -> None:
        if activity.info().attempt == 1:  # once, however often the webhook is tried
            self._alerting.tell(alert, self._instruments)
        try:
            await self._alerting.post(alert)
        except NotDelivered as error:
            # No fault of this worker's, and no traceback: the entity says so in a line when it has given up.
            raise ApplicationError(
                str(error), type="AlertNotDelivered", category=ApplicationErrorCategory.BENIGN
            ) from None
