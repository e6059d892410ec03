"""A run shows the same, once, whether its worker keeps it in memory or replays it from history at every task."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace
from temporalio.client import Client

from tests.conftest import Serve
from tests.telemetry.story import AGENT, STORY, TREE
from tests.telemetry.watched import events, lines, samples, seeing, spans, tree

OWN = {"run_id", "trace_id", "timestamp", "latency_ms", "where"}
COUNTED = {
    ("interlock_runs_total", (("agent", "story"), ("outcome", "completed"))): 1,
    ("interlock_run_seconds_count", (("agent", "story"),)): 1,
    ("interlock_steps_total", (("agent", "story"),)): 3,
    ("interlock_tokens_total", (("direction", "input"), ("model", "scripted:story"))): 4000,
    ("interlock_tokens_total", (("direction", "output"), ("model", "scripted:story"))): 400,
    ("interlock_tokens_total", (("direction", "cached"), ("model", "scripted:story"))): 0,
    ("interlock_cost_microusd_total", (("agent", "story"), ("model", "scripted:story"))): 18000,
    ("interlock_attempts_total", (("fate", "billed"), ("model", "scripted:story"))): 4,
    ("interlock_attempts_total", (("fate", "unbilled"), ("model", "scripted:story"))): 1,
    ("interlock_attempts_lost_total", (("model", "scripted:story"),)): 0,
    ("interlock_tool_calls_total", (("success", "true"), ("tool", "look"))): 1,
    ("interlock_tool_calls_total", (("success", "false"), ("tool", "look"))): 1,
    ("interlock_tool_calls_total", (("success", "false"), ("tool", "ask"))): 1,
    ("interlock_tool_seconds_count", (("tool", "look"),)): 2,
    ("interlock_tool_seconds_count", (("tool", "ask"),)): 1,
    ("interlock_model_seconds_count", (("model", "scripted:story"),)): 4,
}


@pytest.mark.parametrize("cached", [1000, 0], ids=["kept in memory", "replayed at every task"])
async def test_a_run_shows_the_same_with_and_without_replay(serve: Serve, temporal: Client, cached: int) -> None:
    tracer = trace.get_tracer("a caller")
    with lines() as out, spans() as found:
        async with (
            seeing(temporal, metrics=True) as (client, url),
            serve(AGENT, client=client, max_cached_workflows=cached) as served,
        ):
            with tracer.start_as_current_span("a request") as request:
                run = await served.start("story", user_id="ada")
            result = await served.end(run)
            counted = samples(url)
    assert result.outcome == "completed"

    said = events(out, run.id)
    assert [each["event"] for each in said] == list(STORY)
    trace_id = trace.format_trace_id(request.get_span_context().trace_id)
    for each in said:
        assert (each["user_id"], each["agent"], each["trace_id"]) == ("ada", "story", trace_id), each
        assert {"step", "attempt"} <= each.keys(), each
    assert [_fields(each) for each in said if each["event"] in FIGURES] == [(name, FIGURES[name]) for name in TOLD]

    finished = list(found.get_finished_spans())
    [root] = [each for each in finished if each.parent is None]
    assert tree(finished, root) == ("a request", False, (TREE,))
    assert {each.context.trace_id for each in finished} == {root.context.trace_id}

    assert {key: value for key, value in counted.items() if _is_count(key[0])} == COUNTED


FIGURES: dict[str, dict[str, Any]] = {
    "llm.response": {"model": "scripted:story", "tokens_in": 1000, "tokens_out": 100, "cached": 0, "usd": "0.0045"},
    "budget.low": {"limit": "steps", "left": "0", "of": "3"},
    "agent.complete": {
        "outcome": "completed",
        "steps": 3,
        "tool_calls": 2,
        "total_tokens": 4400,
        "total_cost": "0.018000",
    },
}
TOLD = [name for name in STORY if name in FIGURES]
WHOSE = {"event", "logger", "level", "agent", "user_id", "step", "attempt"}


def _fields(line: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return line["event"], {name: value for name, value in line.items() if name not in OWN | WHOSE}


def _is_count(name: str) -> bool:
    return (
        not name.endswith(("_sum", "_bucket"))
        and "_waiting" not in name
        and "_ledger_" not in name
        and "_mirror_" not in name
        and not name.startswith(("interlock_kills_", "interlock_alerts_", "interlock_breaker_"))
    )
