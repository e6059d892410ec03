"""Every type that crosses a wire: task, result, signals, activity inputs, what continue-as-new carries.

Laws of this package (DESIGN, section 2):

* Whatever can change a decision is in here, as a run's input or state, never a module constant: a
  constant that changes between releases breaks the replay of every open run.
* Frozen, and only grown: a field is added with a default and never renamed, retyped or removed.
  Histories outlive releases.
* What people and other programs send (``AgentTask``, signals, updates) refuses unknown fields, so that a
  typing mistake is an error with a name. What Interlock sends to itself ignores them, so that a worker of
  the previous release can read what a newer one wrote.

Money is ``Decimal``, in US dollars, a string in JSON. Spans are seconds. Times carry a zone.
Nothing here performs I/O, reads a clock or imports more than the standard library and pydantic.
"""

from __future__ import annotations

from interlock.contracts.agent import (
    AgentSpec,
    LongContext,
    Models,
    Price,
    Rates,
    ResolveAgent,
    Retry,
    ToolSpec,
)
from interlock.contracts.base import (
    Asked,
    Complexity,
    Count,
    Effect,
    Finish,
    Json,
    LimitName,
    Money,
    Name,
    Outcome,
    Purpose,
    Seconds,
    Source,
    State,
    Tier,
    Who,
    Wire,
    explain,
    parse,
)
from interlock.contracts.calls import (
    Attempt,
    Carried,
    Grant,
    ModelCall,
    ModelReply,
    Progress,
    ToolCall,
    ToolResult,
)
from interlock.contracts.conversation import (
    AssistantMessage,
    CallPart,
    Message,
    OpaquePart,
    Part,
    TextPart,
    ToolMessage,
    Transcript,
    UserMessage,
)
from interlock.contracts.task import (
    AgentResult,
    AgentTask,
    Decision,
    Extension,
    Limits,
    Note,
    PendingApproval,
    Routed,
    RunStatus,
    Steer,
    Usage,
    input_hash,
)

__all__ = [
    "AgentResult",
    "AgentSpec",
    "AgentTask",
    "Asked",
    "AssistantMessage",
    "Attempt",
    "CallPart",
    "Carried",
    "Complexity",
    "Count",
    "Decision",
    "Effect",
    "Extension",
    "Finish",
    "Grant",
    "Json",
    "LimitName",
    "Limits",
    "LongContext",
    "Message",
    "ModelCall",
    "ModelReply",
    "Models",
    "Money",
    "Name",
    "Note",
    "OpaquePart",
    "Outcome",
    "Part",
    "PendingApproval",
    "Price",
    "Progress",
    "Purpose",
    "Rates",
    "ResolveAgent",
    "Retry",
    "Routed",
    "RunStatus",
    "Seconds",
    "Source",
    "State",
    "Steer",
    "TextPart",
    "Tier",
    "ToolCall",
    "ToolMessage",
    "ToolResult",
    "ToolSpec",
    "Transcript",
    "Usage",
    "UserMessage",
    "Who",
    "Wire",
    "explain",
    "input_hash",
    "parse",
]
