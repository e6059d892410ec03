"""What a run's calls are charged, once their fate is known; and what is charged where nobody waits to know it."""

from __future__ import annotations

from interlock.contracts import ModelCall, Usage
from interlock.policies import charges, children
from interlock.policies.children import Ended
from workflows.run_state import Run


def sent(run: Run, call: ModelCall) -> None:
    run.in_flight[call.key] = call


def settled(run: Run, call: ModelCall, usage: Usage) -> None:
    """A call's fate is known, and charged."""
    if run.in_flight.pop(call.key, None) is not None:
        run.by_model[call.model] = run.by_model.get(call.model, Usage()) + usage
        run.told.charged(run, call.model, usage)


def child_ended(run: Run, call_id: str, ended: Ended) -> None:
    """A run that was started for a call has ended: what it used is charged, and the rest may be spent again."""
    child = run.children.pop(call_id)
    for model, usage in children.charge(child.agent, child.given, ended).items():
        run.by_model[model] = run.by_model.get(model, Usage()) + usage
        run.of_children += usage
    if ended.result is not None:
        run.tool_calls += ended.result.tool_calls
        for tool, times in ended.result.by_tool.items():
            run.by_tool[tool] = run.by_tool.get(tool, 0) + times
    if ended.how == "refused":
        run.report.over(call_id)
    elif ended.how != "result":
        run.report.ended_child(call_id, ended.result.kill_report if ended.result else None)


def settle_abandoned(run: Run) -> None:
    """Charge the calls that the run ends without waiting for: all that they were granted."""
    for call_id in list(run.children):
        child_ended(run, call_id, Ended("lost", "it was not waited for"))
    for call in list(run.in_flight.values()):
        settled(run, call, charges.charge(call.price, call.grant, (), unreported=call.grant.attempts))
        run.told.attempted(call.model, (), call.grant.attempts)
