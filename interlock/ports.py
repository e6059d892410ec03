"""The activities a run calls, by name and type. ``activities/`` implements them; ``workflows/`` never sees it.

An implementation subclasses a port and repeats the decorator, so that a renamed or retyped activity is a
type error rather than a run that waits for a worker that never comes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from temporalio import activity

from interlock.contracts import AgentSpec, ModelCall, ModelReply, ResolveAgent

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
