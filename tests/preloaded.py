"""What ``warm`` has imported before it forks. No thread may have begun by then: a fork has only one."""

from __future__ import annotations

import importlib
import threading

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

assert threading.active_count() == 1
