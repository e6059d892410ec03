"""The agents and tools a worker serves, and ``resolve_agent``, which tells a run what its agent is."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.faults import application_error
from activities.gate import Asker, Gate
from activities.prices import price_of
from activities.providers import Providers
from interlock import options, ports
from interlock.agent_tools import AgentTool
from interlock.agents import Agent
from interlock.contracts import AgentSpec, ResolveAgent, Retry, explain
from interlock.errors import Failure
from interlock.mcp_server import McpServer
from interlock.pollers import pollers


class BadReference(ValueError):
    """An agent that cannot be loaded or served; the text says which and why, in one line."""


def load(references: Sequence[str]) -> list[Agent]:
    """The agents that ``MODULE[:NAME]`` references name: every ``Agent`` at module level, or the one named."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    found: dict[int, Agent] = {}
    for reference in references:
        for agent in _load(reference):
            found[id(agent)] = agent  # the same agent, by two references, is one agent
    return list(found.values())


def _load(reference: str) -> list[Agent]:
    module_name, _, name = reference.partition(":")
    if not module_name:
        raise BadReference(f"--agents {reference!r}: it names no module; it takes MODULE or MODULE:NAME")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise BadReference(
                f"--agents {reference}: there is no module {module_name!r}; looked in {Path.cwd()} and sys.path"
            ) from None
        raise BadReference(f"--agents {reference}: {module_name} imports {missing!r}, which is not installed") from None
    except (Exception, SystemExit) as error:
        raise BadReference(f"--agents {reference}: {_one_line(error)}") from error
    agents = {key: value for key, value in vars(module).items() if isinstance(value, Agent)}
    if not name:
        if not agents:
            raise BadReference(f"--agents {reference}: {module_name} has no Agent at module level")
        return list(agents.values())
    if name not in agents:
        known = ", ".join(agents) or "none"
        raise BadReference(f"--agents {reference}: {module_name} has no Agent {name!r}; it has: {known}")
    return [agents[name]]


def _one_line(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        return f"{error.title}: {explain(error)}"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def reachable(agents: Iterable[Agent]) -> list[Agent]:
    """``agents`` and those that they may call, and so on: whoever serves a run serves the runs that it starts. Raises
    ``BadReference`` for two of one name."""
    found: dict[str, Agent] = {}
    waiting = list(agents)
    while waiting:
        agent = waiting.pop(0)
        if agent.name not in found:
            found[agent.name] = agent
            waiting += [each for each in agent.tools if isinstance(each, Agent)]
        elif found[agent.name] is not agent:
            raise _two_of(agent.name)
    return list(found.values())


class Registry(ports.Agents):
    """The agents one worker serves. Making it checks them; raises ``BadReference``."""

    def __init__(self, agents: Iterable[Agent], providers: Providers, gate: Gate | None = None) -> None:
        self._gate = gate
        self.agents: Mapping[str, Agent] = _by_name(agents)
        self._providers = providers
        self.tools = _tools(self.agents.values())
        for agent in self.agents.values():
            for model in agent.chosen.all():
                try:
                    providers.of(model).check(model)
                except ValueError as error:
                    raise BadReference(f"agent {agent.name}: {error}") from None

    def dependencies(self) -> set[str]:
        """What its agents' calls depend on, and has a breaker: models and tools."""
        return {model for agent in self.agents.values() for model in agent.chosen.all()} | {
            tool.dependency for tool in self.tools
        }

    async def _unknown(self, name: str) -> ApplicationError:
        """While workers are replaced, some have an agent and some have not: then others are asked first."""
        info, client = activity.info(), activity.client()
        if info.attempt < options.RESOLVE_ELSEWHERE:
            others = {each.identity for each in await pollers(client, info.task_queue, "activity")} - {client.identity}
            if others:
                failure = Failure("AgentElsewhere", f"this worker has no agent {name!r}; others may")
                return application_error(failure, options.RESOLVE_RETRY)
        known = ", ".join(sorted(self.agents)) or "none"
        said = f"no agent is named {name!r} on task queue {info.task_queue}; known: {known}."
        return application_error(
            Failure("UnknownAgent", f"{said} Start its workers with --agents MODULE[:NAME]"), Retry()
        )

    @activity.defn(name="resolve_agent")
    async def resolve_agent(self, ask: ResolveAgent) -> AgentSpec:
        agent = self.agents.get(ask.agent)
        try:
            if self._gate is not None:  # a new run of who is killed ends before its first call
                self._gate.check(Asker.of_activity(ask.user_id, ask.begun))
        except Failure as killed:
            raise application_error(killed, options.RESOLVE_RETRY, killed.told) from None
        if agent is None:
            raise await self._unknown(ask.agent)
        prices = {model: agent.prices.get(model) or price_of(model, self._providers) for model in agent.chosen.all()}
        if unpriced := [model for model, price in prices.items() if price is None]:
            failure = Failure(
                "UnpricedModel",
                f"nobody knows what {', '.join(unpriced)} costs. Give agent {agent.name} its price in dollars per "
                f'million tokens: prices={{"{unpriced[0]}": Price(input="3.00", output="15.00")}}, or "0" if free',
            )
            raise application_error(failure, Retry())
        spec = agent.spec({model: price for model, price in prices.items() if price is not None})
        return spec if self._gate is None else spec.model_copy(update={"fleet": self._gate.fleet})


def _by_name(agents: Iterable[Agent]) -> dict[str, Agent]:
    found: dict[str, Agent] = {}
    for agent in agents:
        if agent.name in found:
            raise _two_of(agent.name)
        found[agent.name] = agent
    return found


def _two_of(name: str) -> BadReference:
    return BadReference(f"two agents are named {name!r}; a task could not tell them apart")


def _tools(agents: Iterable[Agent]) -> list[AgentTool]:
    """The tools to be served. Those of MCP servers are among them once the servers have been asked."""
    found: dict[str, AgentTool] = {}
    for agent in agents:
        for tool in agent.tools:
            if isinstance(tool, McpServer | Agent):
                continue
            if found.setdefault(tool.name, tool) != tool:
                places = " and ".join(each.origin for each in (found[tool.name], tool))
                raise BadReference(f"two tools are named {tool.name!r}: {places}; rename one, or @tool(name=...)")
    return list(found.values())
