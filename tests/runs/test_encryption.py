"""Nothing of a run can be read without a key, everything can with one, and what does not decrypt wedges nobody."""

from __future__ import annotations

import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.recall import RecallActivity
from interlock import Agent, Limits, Retry, tool
from interlock.client import Interlock
from interlock.contracts import RecallCall, input_hash
from interlock.errors import BadKey, InterlockError, RunFailed
from interlock.history import transcript_of
from interlock.keys import Keys
from interlock.open_runs import refuse_foreign
from interlock.testing import ScriptedModel, call, calls, replay, say
from interlock.tombstones import UnreadablePayload
from tests.conftest import Serve
from tests.runs.loops import until
from tests.runs.sealed import eventually, linger, lying_about, quick, recollect, some_keys, waiting, with_keys
from tests.runs.sealed_workflows import Child, Listener, Parent, echo, hang, stumble
from worker import serving
from workflows.agent_run import AgentRun

LONG = "voluminousword "


@tool(effect="read")
async def recite() -> str:
    """Something long."""
    return LONG * 6000


@tool(effect="write")
async def stumble_over(thing: str) -> str:
    """Fail."""
    raise ValueError(f"errorword {thing}")


def talker(name: str = "talker") -> Agent:
    model = ScriptedModel(
        name,
        [
            calls(call("recollect", subject="argumentword"), call("stumble_over", thing="x")),
            calls(*(call("recite") for _ in range(20))),
            call("recollect", subject="more"),
            call("linger"),
            say("answerword"),
        ],
    )
    tools = [recollect, recite, stumble_over, linger]
    retry = Retry(attempts=1)
    return Agent(
        name=name, instructions="instructionword", models=model.model, tools=tools, retry=retry, limits=Limits(usd="1")
    )


WORDS = [
    b"promptword", b"instructionword", b"argumentword", b"resultword", b"errorword", b"voluminousword",
    b"steerword", b"extenderword", b"killword", b"metadataword",
]  # fmt: skip


# -- nothing can be read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [None, some_keys()], ids=["without a key", "with a key"])
async def test_nothing_of_a_run_lies_anywhere_in_plain(
    kept: Path, serve: Serve, forgetful: Client, keys: Keys | None
) -> None:
    """History, index, store and journal. Without a key the same search finds every word: it can fail."""
    client = with_keys(forgetful, keys, kept / "store")
    async with serve(talker(), client=client) as served:
        run = await served.start("talker", "promptword, please", metadata={"word": "metadataword"})
        await until(run, "tool.linger", 25)
        await run.steer("steerword")
        assert (await run.extend(Limits(usd="2"), by="extenderword")).limits.usd == 2
        assert (await run.status()).agent == "talker"
        told = (await served.interlock.transcript(run.id)).model_dump_json()
        assert all(word in told for word in ("promptword", "instructionword", "argumentword", "resultword"))
        await run.kill("killword")
        result = await served.end(run)
        assert result.outcome == "killed"
        assert result.reason == "killword (by client)"
        lying = await lying_about(client, run.id, kept)
        assert b"ContinuedAsNew" not in lying
        first = await client.get_workflow_handle(run.id).describe()
        assert first.raw_description.workflow_execution_info.first_run_id != first.run_id, "not continued as new"
    assert [path.stat().st_size > 1_000_000 for path in (kept / "store").rglob("*") if path.is_file()], "no file"
    assert (kept / "journal.db").exists()
    found = [word for word in WORDS if word in lying or word in run.id.encode()]
    assert found == ([] if keys else WORDS)


async def test_an_agent_as_a_tool_and_what_waits_in_its_run(kept: Path, temporal: Client, serve: Serve) -> None:
    @tool(effect="write", approval=True)
    async def publish(text: str) -> str:
        """Publish."""
        return f"resultword {text}"

    asks = [call("publish", text="argumentword"), say("answerword")]
    researcher = Agent(
        name="sealed-child", instructions="instructionword", models=ScriptedModel("sealed-child", asks).model,
        tools=[publish],
    )  # fmt: skip
    turns = [call("sealed-child", input="promptword"), say("answerword of both")]
    model = ScriptedModel("sealed-boss", turns)
    boss = Agent(name="sealed-boss", instructions="instructionword", models=model.model, tools=[researcher])
    client = with_keys(temporal, some_keys(), kept / "store")
    async with serve(boss, client=client) as served:
        run = await served.start("sealed-boss", "promptword")
        child = served.interlock.get(f"{run.id}-s1c1")

        async def asked() -> int:
            with suppress(InterlockError):  # it is not there yet
                return len((await child.status()).pending_approvals)
            return 0

        await eventually(asked, bool)
        await child.decide("s1c1", approve=True, by="ann")
        assert (await served.end(run)).output == "answerword of both"
        assert (await served.end(child)).by_tool == {"publish": 1}
        lying = await lying_about(client, run.id, kept) + await lying_about(client, child.id, kept)
    assert [word for word in [*WORDS, b"answerword"] if word in lying] == []


async def test_a_journaled_answer_is_read_by_the_key_that_wrote_it(kept: Path, temporal: Client, serve: Serve) -> None:
    client = with_keys(temporal, some_keys(), kept / "store")
    async with serve(quick(), client=client) as served:
        assert (await served.run("quick")).output == "answerword"
    journal = b"".join(path.read_bytes() for path in kept.glob("journal.db*"))
    assert b"binary/encrypted" in journal
    assert b"kept:journal/" in journal
    assert b"answerword" not in journal


async def test_a_run_without_a_cache_is_the_same(kept: Path, temporal: Client, serve: Serve) -> None:
    """Every task replays, and every call rebuilds its conversation from the encrypted history."""
    client = with_keys(temporal, some_keys(), kept / "store")
    async with serve(quick(), client=client, transcript_bytes=0, max_cached_workflows=0) as served:
        run = await served.start("quick", "promptword")
        assert (await served.end(run)).output == "answerword"


async def test_an_answer_is_recalled_from_an_encrypted_run(kept: Path, temporal: Client, serve: Serve) -> None:
    """By the index, which is plain, and then from the other run's history. One with a lost key is passed over."""
    name = f"recalling{uuid.uuid4().hex[:6]}"
    model = ScriptedModel(name, [say("answerword")])
    good = Agent(name=name, instructions="x", models=model.model)
    keys = some_keys()
    for each in (keys, some_keys()):
        async with serve(good, client=with_keys(temporal, each, kept / "store")) as served:
            assert (await served.run(name, "promptword")).output == "answerword"
    recall = RecallActivity(with_keys(temporal, keys, kept / "store"))
    asked = RecallCall(
        agent=name,
        input_hash=input_hash(name, "promptword"),
        run="another",
        max_age=600,
        before=datetime.now(UTC),
        user_id=None,
    )
    await eventually(lambda: recall.recall(asked), lambda found: found.output == "answerword")


async def test_every_place_that_the_sdk_has_for_a_payload(kept: Path, temporal: Client) -> None:
    """Who reads a payload is told the same place as who wrote it: worker, client and replay alike."""
    client = with_keys(temporal, some_keys(), kept / "store")
    queue, other = f"sealed-{uuid.uuid4().hex[:8]}", f"listener-{uuid.uuid4().hex[:8]}"
    strict = SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default)
    async with Worker(
        client,
        task_queue=queue,
        workflows=[Parent, Child, Listener],
        activities=[echo, stumble, hang],
        workflow_runner=strict,
        max_heartbeat_throttle_interval=timedelta(milliseconds=1),
        default_heartbeat_throttle_interval=timedelta(milliseconds=1),
    ):
        listener = await client.start_workflow(Listener.run, id=other, task_queue=queue)
        empty: dict[str, Any] = {}
        handle = await client.start_workflow(
            Parent.run,
            args=["walrus", other, empty],
            id=f"parent-{uuid.uuid4().hex[:8]}",
            task_queue=queue,
            memo={"started": "walrus"},
            static_summary="walrus in short",
            static_details="walrus at length",
        )
        assert await handle.execute_update(Parent.tell, "walrus") == "walrus told"
        assert await handle.query(Parent.recite, "walrus") == "walrus recited"
        assert await listener.result() == "walrus from outside"
        latest = client.get_workflow_handle(handle.id)
        described = await eventually(latest.describe, lambda found: found.run_id != handle.result_run_id)
        first = await client.get_workflow_handle(handle.id, run_id=handle.result_run_id).describe()
        assert await first.memo() == {"started": "walrus", "upserted": "walrus"}
        assert await described.memo() == {"started": "walrus"}
        assert await first.static_summary() == "walrus in short"
        assert await first.static_details() == "walrus at length"
        await latest.signal(Parent.hear, "walrus said")
        assert await handle.result() == {
            "echo": "walrus echoed",
            "child": "walrus grown",
            "failed": ["walrus failed", "walrus heartbeat"],
            "hung": ["walrus last words"],
            "bad": ["bad walrus failed", "bad walrus details"],
            "heard": ["walrus said"],
            "memo": {"started": "walrus"},
        }
        for one, kind in ((handle, Parent), (listener, Listener)):
            await replay(client, one, kind)
        for each in (handle.id, listener.id, f"{other}-good", f"{other}-bad"):
            assert b"walrus" not in await lying_about(client, each)


# -- rotation ---------------------------------------------------------------------------------------------------


async def test_a_new_key_is_put_in_front_of_the_old_one(kept: Path, temporal: Client, serve: Serve) -> None:
    old, new = some_keys(), some_keys()
    both = Keys({**new.by_id, **old.by_id})
    before = with_keys(temporal, old, kept / "store")
    async with serve(waiting(), client=before, grace=timedelta(seconds=1)) as served:
        run = await served.start("waiting", "promptword")
        await until(run, "tool.linger", 25)
    after = with_keys(temporal, both, kept / "store")
    fleet = served.interlock.fleet.id
    async with serving(after, [waiting()], queue=served.interlock.queue, fleet=fleet):
        again = Interlock(after, served.interlock.queue, fleet)
        ours = again.get(run.id)
        await run.steer("by who has only the old key")  # a client that was not restarted yet
        assert (await ours.status()).ignored_signals == 0
        await ours.kill("enough")
        assert (await ours.result()).reason == "enough (by client)"
        await replay(after, ours.handle, AgentRun)
        assert "promptword" in (await again.transcript(run.id)).model_dump_json()
    with pytest.raises(RunFailed, match=new.first):
        await run.result()


# -- switching on -----------------------------------------------------------------------------------------------


async def test_a_worker_that_cannot_read_the_runs_under_way_does_not_begin(
    kept: Path, temporal: Client, serve: Serve
) -> None:
    """They would stand still, and hear no kill."""
    keys = some_keys()
    async with serve(waiting(), client=with_keys(temporal, keys, kept / "store")) as served:
        run = await served.start("waiting")
        await until(run, "tool.linger", 25)
        queue = served.interlock.queue
        await listed(temporal, queue, 1)
        await refuse_foreign(temporal, queue, keys)
        with pytest.raises(BadKey, match=f"encrypted with key {keys.first}"):
            await refuse_foreign(temporal, queue, None)
        with pytest.raises(BadKey, match=f"encrypted with key {keys.first}"):
            await refuse_foreign(temporal, queue, some_keys())
        await temporal.start_workflow("AgentRun", {"agent": "waiting"}, id=f"plain-{queue}", task_queue=f"{queue}-2")
        await listed(temporal, f"{queue}-2", 1)
        await refuse_foreign(temporal, f"{queue}-2", None)
        with pytest.raises(BadKey, match="not encrypted"):
            await refuse_foreign(temporal, f"{queue}-2", keys)
        await temporal.get_workflow_handle(f"plain-{queue}").terminate()
        await run.kill()
        await run.result()


async def listed(client: Client, queue: str, least: int) -> None:
    async def found() -> int:
        where = f"TaskQueue = '{queue}' AND ExecutionStatus = 'Running'"
        return len([each async for each in client.list_workflows(where)])

    await eventually(found, lambda count: count >= least)


# -- a client without the key -----------------------------------------------------------------------------------


async def test_a_client_without_the_key_is_told_so_in_one_line(kept: Path, temporal: Client, serve: Serve) -> None:
    keys = some_keys()
    async with serve(quick(), client=with_keys(temporal, keys, kept / "store")) as served:
        run = await served.start("quick")
        await served.end(run)
        for other, why in ((None, f"encrypted with key {keys.first}, and"), (some_keys(), f"key {keys.first}, which")):
            blind = Interlock(with_keys(temporal, other, kept / "store"), served.interlock.queue)
            for ask in (blind.get(run.id).result, blind.get(run.id).status):
                with pytest.raises(UnreadablePayload, match=why):
                    await ask()
            with pytest.raises(UnreadablePayload, match=why):
                await transcript_of(blind.client, run.id)
            refused = await blind.start({"agent": "quick", "input": "x"})
            with pytest.raises(RunFailed, match=f"cannot be read: .*{keys.first}"):
                await refused.result()
