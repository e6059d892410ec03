"""``interlock approve``, ``reject``, and where what waits is shown."""

from __future__ import annotations

import asyncio

from interlock.testing import call
from tests.cli.conftest import CommandLine
from tests.cli.test_runs import listed
from tests.conftest import Serve
from tests.runs.world import World, agent, told, waits


async def test_what_waits_is_listed_shown_and_decided(serve: Serve, cli: CommandLine) -> None:
    world = World()
    turns = [call("send_email", to="ada"), call("send_email", to="bob [red]x[/red]")]
    async with serve(agent("cli-mailer", turns, [world.send()])) as served:
        run = await served.start("cli-mailer", user_id=served.interlock.queue)
        [first] = await waits(run, "s1c1")
        found = await listed(cli, "--state", "waiting_approval", "--user", served.interlock.queue, runs=1)
        assert [each["run"] for each in found.json] == [run.id]
        status = await cli("status", run.id)
        for said in (
            "waiting approval", 's1c1 · send_email({"to": "ada"})', "every call of send_email needs approval",
            f"interlock approve {run.id} s1c1\n", f"interlock reject {run.id} s1c1\n",
        ):  # fmt: skip
            assert said in status.out
        approved = await cli("approve", run.id, "s1c1", "--reason", "fine")
        assert (approved.code, approved.out) == (0, f'approved s1c1 of {run.id}: send_email(to="ada")\n')
        [second] = await waits(run, "s2c1")
        assert second.arguments_hash != first.arguments_hash
        again, unknown, nobody = await asyncio.gather(
            cli("approve", run.id, "s1c1"), cli("reject", run.id, "s9c9"), cli("approve", "no-such-run", "s1c1")
        )
        assert [ran.code for ran in (again, unknown, nobody)] == [1, 1, 1]
        assert "call 's1c1' was already approved by " in again.complaint
        assert again.complaint.endswith(": fine")
        assert "no call 's9c9' waits for a decision in this run; waiting: s2c1 send_email" in unknown.complaint
        assert "there is no run 'no-such-run'" in nobody.complaint
        rejected = await cli("reject", run.id, "s2c1", "--reason", "not bob", "--json")
        assert rejected.json == {
            "run": run.id, "call": "s2c1", "verdict": "rejected", "arguments_hash": second.arguments_hash,
        }  # fmt: skip
        await served.end(run)
        assert world.sent == ["ada"]
        assert [message.content for message in await told(served, run)][1].endswith("rejected send_email: not bob.")
        followed = await cli("follow", run.id)
        waited = f"waiting for approval of send_email · interlock approve {run.id} s1c1\n"
        for remark in (waited, "approved s1c1 by ", ": fine\n", "rejected s2c1 by "):
            assert remark in followed.out
