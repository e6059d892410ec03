"""The sandbox that workflows run in. Whether a workflow fits into one is looked at once in a process.

The SDK looks again for each worker and each history that is replayed, of which tests have thousands.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import SandboxImportNotificationPolicy

if TYPE_CHECKING:
    from temporalio.workflow import _Definition


@dataclass(frozen=True)
class Sandbox(SandboxedWorkflowRunner):
    fit: set[type] = field(default_factory=set, init=False, compare=False)

    def prepare_workflow(self, defn: _Definition) -> None:
        if defn.cls not in self.fit:
            super().prepare_workflow(defn)
            self.fit.add(defn.cls)


@cache
def strict() -> Sandbox:
    """For workers: an import that nobody has declared is an error."""
    policy = SandboxImportNotificationPolicy.RAISE_ON_UNINTENTIONAL_PASSTHROUGH
    return Sandbox(SandboxRestrictions.default.with_import_notification_policy(policy))


@cache
def lenient() -> Sandbox:
    """For replays: as the SDK has it, whatever workflows they are."""
    return Sandbox()


__all__ = ["Sandbox", "lenient", "strict"]
