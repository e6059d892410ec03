"""What an open run costs its worker: its own file is executed for it, in the sandbox, and no other of ours."""

from __future__ import annotations

import gc
from types import ModuleType

from interlock import Account
from tests.conftest import Serve
from tests.fleet.environment import asked, waiting

OF_EACH_RUN = {"workflows", "workflows.agent_run", "workflows.budget_ledger", "workflows.fleet_control"}


def executed_again() -> set[str]:
    """Our modules that there are several of."""
    # Not `isinstance`: that asks some objects for their class, and a library's stand-ins import theirs to tell.
    found = [each.__name__ for each in gc.get_objects() if issubclass(type(each), ModuleType)]
    ours = [name for name in found if name.partition(".")[0] in ("workflows", "interlock")]
    return {name for name in ours if ours.count(name) > 1}


async def test_open_runs_share_all_modules_but_the_workflows(serve: Serve) -> None:
    async with serve(waiting("boxed", accounts=[Account("boxed:{user_id}", usd="1.00")])) as served:
        runs = [await served.start("boxed"), await served.start("boxed")]
        await asked("boxed", 2)
        again = executed_again()
        for run in runs:
            await run.kill()
    assert "workflows.agent_run" in again, "runs share the globals of their workflow"
    assert again <= OF_EACH_RUN
