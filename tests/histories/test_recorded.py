"""Histories outlive releases: each that is recorded is replayed by today's workflows, and read by today's words."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

from interlock.converter import data_converter
from interlock.sandbox import lenient
from interlock.spans.facts import Began
from interlock.spans.tree import grow
from interlock.testing import take_the_same_way
from interlock.trace_events import Reader
from interlock.transcript import unusable
from tests.chaos.incompatible import Incompatible
from tests.histories.record import written
from tests.histories.stories import STORIES
from workflows.agent_run import AgentRun
from workflows.budget_ledger import BudgetLedger
from workflows.fleet_control import FleetControl


def history(path: Path) -> WorkflowHistory:
    found = WorkflowHistory.from_json("", path.read_text())
    return WorkflowHistory(found.events[0].workflow_execution_started_event_attributes.workflow_id, found.events)


def replayer(*workflows: type) -> Replayer:
    return Replayer(workflows=workflows, data_converter=data_converter(), workflow_runner=lenient())


each = pytest.mark.parametrize("path", written(), ids=lambda path: f"{path.parent.name}/{path.stem}")


@each
async def test_it_takes_the_same_way(path: Path) -> None:
    await take_the_same_way(replayer(AgentRun, BudgetLedger, FleetControl), history(path))


@each
async def test_every_word_of_it_is_read(path: Path) -> None:
    told, reader = history(path), Reader(data_converter())
    for event in told.events:
        await reader.read(event)
    calls = sum(event.activity_task_scheduled_event_attributes.activity_type.name == "model" for event in told.events)
    assert len({fact.id for fact in reader.facts if isinstance(fact, Began) and fact.kind == "chat"}) == calls
    grow(reader.facts, {})


def test_each_story_is_recorded() -> None:
    assert {path.name.split("-")[0] for path in written()} == STORIES.keys()


NUMBERED = [path for path in written() if path.name.startswith("numbered")]


@pytest.mark.parametrize("path", NUMBERED, ids=lambda path: path.stem)
async def test_what_a_model_is_told_may_be_put_better(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a release that replays runs which were told otherwise."""
    monkeypatch.setattr("workflows.agent_run.PLAN_PROMPT", "A plan first, please.")
    monkeypatch.setattr("workflows.agent_run.CARRY_OUT_PROMPT", "Go.")
    monkeypatch.setattr("workflows.model_turn.CLASSIFY_PROMPT", "Is this hard? {input}")
    monkeypatch.setattr("workflows.ladder.FINAL_ANSWER_PROMPT", "No more tools ({reason}). Answer.")
    monkeypatch.setattr("workflows.model_turn.unusable", lambda reply: unusable(reply) and "it is no use")
    changed = Replayer(
        workflows=[AgentRun], data_converter=data_converter(), workflow_runner=UnsandboxedWorkflowRunner()
    )
    await take_the_same_way(changed, history(path))


async def test_another_way_is_found() -> None:
    planned = next(path for path in written() if path.name.startswith("planned"))
    with pytest.raises(NondeterminismError):
        await replayer(Incompatible).replay_workflow(history(planned))
