"""The sandbox that workflows run in: the SDK's, entered for what a workflow does and for nothing else.

Whether a workflow fits into one is looked at once in a process: the SDK looks again for each worker and each history
that is replayed. And whom a payload belongs to, which it asks nineteen times a step, is read without compiling code
and exchanging the modules for it: that was a twelfth of what a step took of a worker's CPU.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.worker.workflow_sandbox._runner import _Instance
from temporalio.workflow import SandboxImportNotificationPolicy

if TYPE_CHECKING:
    from temporalio.converter import SerializationContext, StorageDriverStoreContext
    from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
    from temporalio.worker._command_aware_visitor import CommandInfo
    from temporalio.workflow import _Definition


class _Sandboxed(_Instance):
    """Its contexts are the SDK's own, from ids that it keeps; no code of a workflow takes part in them."""

    @property
    def _inside(self) -> Any:
        return self.globals_and_locals["__temporal_in_sandbox"]

    def get_serialization_context(self, command_info: CommandInfo | None) -> SerializationContext | None:
        found: SerializationContext | None = self._inside.get_serialization_context(command_info)
        return found

    def get_external_store_context(self, command_info: CommandInfo | None) -> StorageDriverStoreContext:
        found: StorageDriverStoreContext = self._inside.get_external_store_context(command_info)
        return found


@dataclass(frozen=True)
class Sandbox(SandboxedWorkflowRunner):
    fit: set[type] = field(default_factory=set, init=False, compare=False)

    def prepare_workflow(self, defn: _Definition) -> None:
        if defn.cls not in self.fit:
            super().prepare_workflow(defn)
            self.fit.add(defn.cls)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return _Sandboxed(det, self.runner_class, self.restrictions)


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
