"""The activities a run calls, by name and type. ``activities/`` implements them; ``workflows/`` never sees it.

An implementation subclasses a port and repeats the decorator, so that a renamed or retyped activity is a
type error rather than a run that waits for a worker that never comes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from temporalio import activity

from interlock.contracts import (
    AgentSpec,
    Alert,
    AuditCall,
    LeaseCall,
    LeaseReply,
    ModelCall,
    ModelReply,
    RecallCall,
    Recalled,
    ResolveAgent,
    SettleCall,
    SettleReply,
    Sweep,
    SweepCall,
)

TOOL_PREFIX = "tool."
"""An agent's tool ``search`` is the activity ``tool.search``."""


class Agents(ABC):
    @activity.defn(name="resolve_agent")
    @abstractmethod
    async def resolve_agent(self, ask: ResolveAgent) -> AgentSpec:
        """What an agent is, now. Fails with ``UnknownAgent`` or ``UnpricedModel``, never retried."""


class Models(ABC):
    @activity.defn(name="model")
    @abstractmethod
    async def model(self, call: ModelCall) -> ModelReply:
        """One call of a model, as often as its grant and its retry policy allow."""


class Ledgers(ABC):
    @activity.defn(name="lease")
    @abstractmethod
    async def lease(self, call: LeaseCall) -> LeaseReply:
        """Take money from a shared account. ``AccountBusy``, and tried again, while others may bring some back."""

    @activity.defn(name="settle")
    @abstractmethod
    async def settle(self, call: SettleCall) -> SettleReply:
        """Tell a shared account what a run has spent."""

    @activity.defn(name="audit")
    @abstractmethod
    async def audit(self, call: AuditCall) -> list[str]:
        """Those of the runs that have ended, or never were."""


class Recall(ABC):
    @activity.defn(name="recall")
    @abstractmethod
    async def recall(self, call: RecallCall) -> Recalled:
        """The last good answer to the same input, from that run's history."""


class Sweeps(ABC):
    @activity.defn(name="sweep")
    @abstractmethod
    async def sweep(self, call: SweepCall) -> Sweep:
        """End every open run that a kill covers, in order."""


class Alerts(ABC):
    @activity.defn(name="alert")
    @abstractmethod
    async def alert(self, alert: Alert) -> None:
        """Tell people: a log line, a metric, and a webhook where one is set."""
