"""Every name under which a run is seen from outside: log events, spans, their attributes, metrics.

The GenAI names of OpenTelemetry are written out here: the constants in its package of semantic conventions are
deprecated, and the conventions are still in flux. They change here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

# -- log events -------------------------------------------------------------------------------------------

AGENT_START: Final = "agent.start"
AGENT_PLAN: Final = "agent.plan"
AGENT_STEP_START: Final = "agent.step.start"
AGENT_COMPLETE: Final = "agent.complete"
LLM_RESPONSE: Final = "llm.response"
LLM_FAILED: Final = "llm.failed"
TOOL_EXECUTED: Final = "tool.executed"
TOOL_FAILED: Final = "tool.failed"
RUN_PAUSED: Final = "run.paused"
RUN_RESUMED: Final = "run.resumed"
RUN_KILLED: Final = "run.killed"
CALL_STOPPED: Final = "call.stopped"
BUDGET_LOW: Final = "budget.low"
BREAKER_OPENED: Final = "breaker.opened"
BREAKER_CLOSED: Final = "breaker.closed"
BREAKER_TRIED: Final = "breaker.tried"
MIRROR_BACK: Final = "mirror.back"
ALERT: Final = "alert"
SIGNAL_IGNORED: Final = "signal.ignored"
LEASE_FAILED: Final = "lease.failed"
SETTLE_FAILED: Final = "settle.failed"
RECALL_FAILED: Final = "recall.failed"
OBSERVE_FAILED: Final = "observe.failed"
AUDIT_FAILED: Final = "audit.failed"
ALERT_FAILED: Final = "alert.failed"
GAUGE_FAILED: Final = "gauge.failed"

# -- spans ------------------------------------------------------------------------------------------------

TRACER: Final = "interlock"
SPAN_PLAN: Final = "agent.plan"
SPAN_CLASSIFY: Final = "agent.classify"
SPAN_FINAL_ANSWER: Final = "agent.final_answer"


def span_run(agent: str) -> str:
    return f"invoke_agent {agent}"


def span_step(number: int) -> str:
    return f"agent.step.{number}"


def span_model(model: str) -> str:
    return f"chat {model}"


def span_tool(tool: str) -> str:
    return f"execute_tool {tool}"


OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
AGENT_NAME: Final = "gen_ai.agent.name"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
ERROR_TYPE: Final = "error.type"
COST_USD: Final = "interlock.cost_usd"
ATTEMPT: Final = "interlock.attempt"
STEP: Final = "interlock.step"
PURPOSE: Final = "interlock.purpose"
OUTCOME: Final = "interlock.outcome"
JOURNALED: Final = "interlock.journaled"
TOOL_IS_ERROR: Final = "interlock.tool.is_error"
CONTINUED: Final = "interlock.continued"


def provider_of(model: str) -> str:
    """``openai-chat:gpt-5`` is asked of ``openai``."""
    return model.partition(":")[0].removesuffix("-chat").removesuffix("-responses")


def plain_model(model: str) -> str:
    """``openai-chat:gpt-5`` is called ``gpt-5`` by its provider."""
    return model.partition(":")[2] or model


# -- metrics ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Metric:
    """One metric. Counters are exposed with ``_total`` behind their name. ``labels`` are all that it may carry beside
    the SDK's own; none of them grows with users or runs."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    description: str
    buckets: Sequence[float] = ()


_RUN_SECONDS = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400)
_MODEL_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300)
_TOOL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_KILL_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

RUNS = Metric("interlock_runs", "counter", ("agent", "outcome"), "Runs that ended, by how")
RUN_SECONDS = Metric(
    "interlock_run_seconds", "histogram", ("agent",), "Seconds from a run's start to its end", _RUN_SECONDS
)
STEPS = Metric("interlock_steps", "counter", ("agent",), "Steps that were taken")
TOKENS = Metric(
    "interlock_tokens", "counter", ("model", "direction"), "Tokens charged; cached ones are part of the input"
)
COST = Metric("interlock_cost_microusd", "counter", ("agent", "model"), "Millionths of a dollar charged")
ATTEMPTS = Metric("interlock_attempts", "counter", ("model", "fate"), "Attempts at model calls that are on record")
ATTEMPTS_LOST = Metric(
    "interlock_attempts_lost", "counter", ("model",), "Attempts whose fate nobody knows, charged at their bound"
)
GRANTS_REFUSED = Metric(
    "interlock_grants_refused", "counter", ("agent", "limit"), "Model calls that a limit did not afford"
)
TOOL_CALLS = Metric("interlock_tool_calls", "counter", ("tool", "success"), "Attempts at tool calls that were run")
TOOL_SECONDS = Metric("interlock_tool_seconds", "histogram", ("tool",), "Seconds of a tool's attempts", _TOOL_SECONDS)
MODEL_SECONDS = Metric(
    "interlock_model_seconds", "histogram", ("model",), "Seconds of attempts that a model answered", _MODEL_SECONDS
)
BREAKER_STATE = Metric(
    "interlock_breaker_state", "gauge", ("dependency",), "As this worker sees it: 0 closed, 1 half-open, 2 open"
)
BREAKER_TRANSITIONS = Metric(
    "interlock_breaker_transitions", "counter", ("dependency", "to"), "Changes of a breaker's state that were seen"
)
KILLS = Metric("interlock_kills", "counter", ("scope",), "Kills that were seen")
KILL_LATENCY = Metric(
    "interlock_kill_latency_seconds",
    "histogram",
    ("scope",),
    "Seconds from a kill to this worker's acting on it",
    _KILL_SECONDS,
)
APPROVALS_WAITING = Metric(
    "interlock_approvals_waiting", "gauge", ("agent",), "Runs that wait for a person, by the server's index"
)
LEDGER_USED = Metric(
    "interlock_ledger_used_ratio", "gauge", ("account",), "Share of an account's limit that is spent or leased"
)
MIRROR_AGE = Metric(
    "interlock_mirror_age_seconds", "gauge", (), "Age of what this worker knows of the fleet's switches"
)
ALERTS = Metric("interlock_alerts", "counter", ("kind",), "Alerts raised")

METRICS: tuple[Metric, ...] = (
    RUNS, RUN_SECONDS, STEPS, TOKENS, COST, ATTEMPTS, ATTEMPTS_LOST, GRANTS_REFUSED, TOOL_CALLS, TOOL_SECONDS,
    MODEL_SECONDS, BREAKER_STATE, BREAKER_TRANSITIONS, KILLS, KILL_LATENCY, APPROVALS_WAITING, LEDGER_USED,
    MIRROR_AGE, ALERTS,
)  # fmt: skip
