"""A fleet at work, to be looked at: open, paused, waiting, killed and finished runs, a call that wants approval, a
breaker that is open, a user who is killed, accounts. Their ids, texts and figures are always the same.

The runs are real, on a server of their own; only their models follow scripts, so that the pictures show what they are
about and cost nothing.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError

from examples.stack import Broken
from interlock import Account, Agent, AgentTask, Interlock, Limits, Price, Retry, tool
from interlock.client import Run
from interlock.contracts import BreakerSettings, Message
from interlock.converter import data_converter
from interlock.embedded import embedded_server
from interlock.errors import Failure
from interlock.testing import Say, ScriptedModel, call, calls, say
from worker import serving

PRICE = Price(input="3.00", output="15.00")
OUTAGE = BreakerSettings(failure_threshold=2, recovery_seconds=600)
LONG = 3600.0

RUNNING = "analyst-why-did-checkout-fail-3f2a9c"
PAUSED = "support-refund-for-order-4711-b81c02"
WAITING = "researcher-compare-three-vector-stores-07d9e1"
ASKING = "support-send-order-4712-elsewhere-d2e7b4"
KILLED = "support-tell-all-customers-about-the-outage-5c60aa"
FIRST = "researcher-which-of-them-is-oldest-91b3d7"
DONE = "analyst-which-requests-time-out-e4f19b"

_writing = asyncio.Event()
"""The e-mail to be killed is under way: a call that a worker only has is refused by a kill, and sent nothing."""


@tool(effect="read")
async def search(pattern: str) -> str:
    """Search the logs."""
    await asyncio.sleep(0.4)
    return f"{pattern}: 3 lines of 1,204 match"


@tool(effect="read")
async def read_order(number: int) -> str:
    """An order, as the shop knows it."""
    await asyncio.sleep(0.3)
    return f"order {number}: paid, not shipped"


@tool(effect="write")
async def send_email(to: str, subject: str) -> str:
    """Write to a customer."""
    _writing.set()
    await asyncio.sleep(LONG)
    return "sent"


@tool(effect="write", approval=True)
async def change_address(order: int, street: str) -> str:
    """Send an order somewhere else."""
    return f"order {order} goes to {street}"


def _turns(seen: Sequence[Message]) -> int:
    return sum(message.role == "assistant" for message in seen)


def _analyst(messages: Sequence[Message], tools: Sequence[str]) -> Say:
    patterns = ("ERROR", "PoolTimeout", "pool_size")
    turn = _turns(messages)
    if turn == 0:
        return Say(calls=calls(call("search", pattern="ERROR"), call("search", pattern="timeout")).calls, delay=0.6)
    if turn < len(patterns):
        return Say(calls=call("search", pattern=patterns[turn]).calls, delay=0.6)
    late = LONG if messages[0].role == "user" and "checkout" in messages[0].text else 0.6
    return say("The connection pool of payments shrank from 40 to 4.", delay=late)


def _support(messages: Sequence[Message], tools: Sequence[str]) -> Say:
    asked = messages[0].text if messages[0].role == "user" else ""
    elsewhere = "elsewhere" in asked
    if _turns(messages) == 0:
        return Say(calls=call("read_order", number=4712 if elsewhere else 4711).calls, delay=0.5)
    if elsewhere and _turns(messages) == 1:
        return Say(calls=call("change_address", order=4712, street="12 Elm Street").calls, delay=0.5)
    if "outage" in asked:
        return Say(calls=call("send_email", to="all@shop.example", subject="The outage is over").calls, delay=0.5)
    return say("The refund is on its way.", delay=LONG)


def _down(messages: Sequence[Message], tools: Sequence[str]) -> Say:
    return Say(failure=Failure("ModelOverloaded", "HTTP 529: overloaded"))


def agents() -> list[Agent]:
    accounts = [Account("user:{user_id}", usd="5.00"), Account("fleet", usd="500.00", window="month")]
    analyst = ScriptedModel("analyst-model", _analyst, PRICE)
    support = ScriptedModel("support-model", _support, PRICE)
    down = ScriptedModel("researcher-model", _down, PRICE)
    return [
        Agent(
            name="analyst",
            instructions="Find out from the logs why something went wrong.",
            models=analyst.model,
            tools=[search],
            limits=Limits(usd=Decimal("0.50"), steps=50, tool_calls=100, seconds=7200),
            accounts=accounts,
            max_output_tokens=1000,
        ),
        Agent(
            name="support",
            instructions="Help customers.",
            models=support.model,
            tools=[read_order, send_email, change_address],
            limits=Limits(usd=Decimal("0.20"), steps=20),
            accounts=accounts,
            max_output_tokens=1000,
        ),
        Agent(
            name="researcher",
            instructions="Compare.",
            models=down.model,
            tools=[search],
            limits=Limits(usd=Decimal("1.00"), steps=30),
            retry=Retry(attempts=2, initial=0.05, maximum=0.1),
            max_output_tokens=1000,
        ),
    ]


@dataclass(frozen=True)
class Scene:
    """``ui`` is the Web UI's address, ``address`` the server's."""

    ui: str
    address: str
    interlock: Interlock

    async def page(self, id: str, tab: str) -> str:
        """Where the Web UI shows one tab of a workflow."""
        described = await self.interlock.client.get_workflow_handle(id).describe()
        return f"{self.ui}/namespaces/default/workflows/{id}/{described.run_id}/{tab}"


@asynccontextmanager
async def staged(port: int | None = None, ui_port: int | None = None) -> AsyncIterator[Scene]:
    """A server with everything in place: open runs stand still while they are looked at."""
    with tempfile.TemporaryDirectory(prefix="interlock-scene-", ignore_cleanup_errors=True) as state:
        os.environ.setdefault("INTERLOCK_JOURNAL", str(Path(state) / "journal.db"))
        async with embedded_server(port=port, ui_port=ui_port) as server:
            client = await Client.connect(server.address, data_converter=data_converter(Path(state) / "store"))
            async with serving(client, agents(), queue="interlock", fleet="interlock-fleet"):
                interlock = Interlock(client, "interlock", "interlock-fleet")
                runs = await _play(interlock)
                yield Scene(server.ui, server.address, interlock)
                for run in runs:
                    with suppress(RPCError):  # somebody ended it
                        await run.handle.terminate("the pictures are taken")


async def _play(interlock: Interlock) -> list[Run]:
    """Bring each run to where it is to be seen; returns those that are open."""

    async def start(id: str, agent: str, text: str, user: str) -> Run:
        return await interlock.start(AgentTask(agent=agent, input=text, user_id=user), id=id)

    _writing.clear()
    await _until(lambda: _configured(interlock), "the fleet control")
    killed = await start(KILLED, "support", "Tell all customers about the outage", "linus")
    done = await start(DONE, "analyst", "Which requests time out?", "grace")
    paused = await start(PAUSED, "support", "Refund for order 4711", "barbara")
    await paused.pause("the customer called again", "grace")
    asking = await start(ASKING, "support", "Send order 4712 elsewhere", "barbara")
    await start(FIRST, "researcher", "Which of them is oldest?", "ada")
    await _until(lambda: _open(interlock), "the breaker of the researcher's model")
    waiting = await start(WAITING, "researcher", "Compare three vector stores", "ada")
    running = await start(RUNNING, "analyst", "Why did checkout fail?", "ada")
    await _until(_is_writing, f"the e-mail of {KILLED}")
    await killed.kill("wrong list of customers", "grace")
    await done.result()
    await interlock.fleet.kill("user", "mallory", "400 runs in a minute", "grace")
    await _until(lambda: _in_state(waiting, "waiting_breaker"), f"{WAITING} at its breaker")
    await _until(lambda: _in_state(paused, "paused"), f"{PAUSED} to pause")
    await _until(lambda: _in_state(asking, "waiting_approval"), f"{ASKING} to wait for approval")
    await _until(lambda: _calls(running, 4), f"the searches of {RUNNING}")
    await _until(lambda: _last_step(running, 4), f"the last step of {RUNNING}")
    return [paused, asking, waiting, running]


async def _configured(interlock: Interlock) -> bool:
    await interlock.fleet.configure(OUTAGE)
    return True


async def _is_writing() -> bool:
    return _writing.is_set()


async def _open(interlock: Interlock) -> bool:
    return (await interlock.fleet.view()).breaker("scripted:researcher-model").state == "open"


async def _in_state(run: Run, state: str) -> bool:
    return (await run.status()).state == state


async def _calls(run: Run, number: int) -> bool:
    return (await run.status()).tool_calls >= number


async def _last_step(run: Run, number: int) -> bool:
    return (await run.status()).step >= number


async def _until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    try:
        async with asyncio.timeout(60):
            while not await condition():  # noqa: ASYNC110 - it is the server that is asked
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise Broken(f"waited 60 s for {what}") from None
