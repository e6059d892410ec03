"""What an event in the history of ``FleetControl`` tells a worker that follows it."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter

from interlock.contracts import KillOrder, parse
from interlock.policies.ahead import Signal

NEWS = {
    EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
}
"""After one of these the memo, or the execution that has it, is another."""


async def order(event: HistoryEvent, converter: DataConverter) -> tuple[Signal, KillOrder] | None:
    """The kill, or the release, that an event signals. One that cannot be read the workflow ignores, and says so."""
    signalled = event.workflow_execution_signaled_event_attributes
    match signalled.signal_name:
        case "kill" | "release" as signal:
            try:
                [told] = await converter.decode(list(signalled.input.payloads))
                return signal, parse(KillOrder, told)
            except Exception:  # noqa: BLE001  # anybody may send anything: a mirror that stopped for it would be deaf
                return None
        case _:
            return None
