"""What ``warm`` has imported before it forks. No thread may have begun by then: a fork has only one."""

from __future__ import annotations

import gc
import importlib
import threading

from temporalio.worker._worker import load_default_build_id

gc.disable()  # until all is imported
for name in (
    "tests.warm",
    "worker",
    "activities.providers.pydantic_ai",
    "pydantic_ai.models.openai",
    "interlock.cli.app",
    "interlock.cli.session",
    "interlock.client",
    "interlock.top.app",
    "temporalio.worker",
    "rich.live",
    "rich.table",
):
    importlib.import_module(name)

load_default_build_id()  # of all that is loaded: 0.15 s, in each process that has not done it
gc.freeze()  # no fork looks through it again
gc.enable()

assert threading.active_count() == 1
