"""``AgentRun``: one run of an agent. Its story is here, and its handlers; each part of it is a file beside this one.

    resolve the agent -> [ model -> tools ]* -> result

Laws of this room (DESIGN, section 2): a workflow decides nothing and does nothing, it asks a policy and
issues a command; whatever can change a decision is in its input or state; Temporal owns retries.

Handlers take ``*args`` and never raise. A signal that raises would fail the workflow task again and again,
and the run would be deaf to everything, kill and cancel included: what cannot be read is counted, logged and
ignored. Updates are refused by their validators, which leaves no trace in history.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from temporalio import workflow
from temporalio.exceptions import ApplicationError

# Passed through, so that a run does not execute these modules again: they hold no state of their own, and
# tests/test_architecture.py keeps clocks, chance and I/O out of them. This module itself is never passed
# through: that would share its globals between runs. Nor is its package, so no `from workflows import ...`: all that
# it names would be executed for every run.
with workflow.unsafe.imports_passed_through():
    import workflows.around as around
    import workflows.asking as asking
    import workflows.carrying as carrying
    import workflows.ending as ending
    import workflows.extending as extending
    import workflows.following as following
    import workflows.for_parent as for_parent
    import workflows.ladder as ladder
    import workflows.model_turn as model_turn
    import workflows.pausing as pausing
    import workflows.reading as reading
    import workflows.resolving as resolving
    import workflows.run_status as run_status
    import workflows.seen as seen
    import workflows.tool_calls as tool_calls
    from interlock.contracts import (
        AgentResult,
        Carried,
        ChildEnded,
        ChildWaits,
        Decision,
        Extension,
        ModelReply,
        Note,
        Purpose,
        RunStatus,
        Steer,
        UserMessage,
    )
    from interlock.policies import approval, details, limit
    from interlock.policies.degradation import Trouble, cut_off
    from workflows.failed_calls import TurnFailed

PLAN_PROMPT = "First write a short plan: the steps you will take, in order. Do not call tools yet."
WHOLE_PROMPT = "Your last answer was cut off. Please give it again, as a whole."
CARRY_OUT_PROMPT = "Now carry out the plan."


@workflow.defn(name="AgentRun")
class AgentRun:
    @workflow.init
    def __init__(self, *args: Any) -> None:
        # Here and not in `run`: a signal or an update may come before its first line.
        self._run, self._refusal = reading.task(args)
        self._run.shown.begin({pair.key.name: pair.value for pair in workflow.info().typed_search_attributes})

    @workflow.run
    @around.a_run
    async def run(self, *args: Any) -> AgentResult:
        if self._refusal is not None:
            raise ApplicationError(f"invalid task: {self._refusal}", type="InvalidTask", non_retryable=True)
        run = self._run
        run.clock.start()
        work = asyncio.create_task(for_parent.telling_of_waits(run, self._work()))
        try:
            await workflow.wait_condition(lambda: work.done() or run.killed is not None)
        except asyncio.CancelledError:
            if run.killed is None:
                await ending.cancelled(run, work)
                raise
        if run.killed is not None:
            raise await ending.killed(run, work, run.killed)
        await workflow.wait_condition(workflow.all_handlers_finished)
        try:
            done = work.result()
        except ApplicationError:
            run.enter("closed")
            raise
        if isinstance(done, Carried):
            workflow.continue_as_new(done)
        return await ending.with_result(run, done)

    async def _work(self) -> AgentResult | Carried:
        run = self._run
        try:
            if not run.resolved:
                await resolving.resolve(run)
            else:  # carried over: by continue-as-new, or from another run's conversation
                run.enter("paused" if run.paused else "running")
            await pausing.unpaused(run)
            if run.tier is None:
                run.tier = await model_turn.classify(run) if run.task.complexity == "auto" else run.task.complexity
            if run.spec.plan and run.messages == 0:
                await self._plan()
            while True:
                await pausing.unpaused(run)
                if run.transcript is not None:
                    return carrying.carry(run, run.transcript)
                if (reason := limit.spent_up(run.spec.bounds, run.limits, run.spent)) is not None:
                    return await ladder.step_down(run, Trouble("limit", reason))
                if (result := await self._step()) is not None:
                    return result
        except TurnFailed as failure:
            kind: Literal["limit", "models"] = "models" if failure.kind == "models" else "limit"
            return await ladder.step_down(run, Trouble(kind, failure.reason, money=failure.kind == "money"))

    @around.a_step
    async def _step(self) -> AgentResult | None:
        """One turn and the calls it asks for; the result, when it was the last."""
        run = self._run
        run.step += 1
        reply = await self._taken()
        if reply is None:
            run.step -= 1
            return None
        if reply.message.calls:
            await tool_calls.perform(run, reply)
            return None
        run.answered = reply.message.text
        if run.steering:
            return None
        cut = cut_off(run.cut_to, reply.finish)
        if cut and run.cut_to is not None and pausing.for_money(run, cut):
            run.delta.append(UserMessage(text=WHOLE_PROMPT))
            return None
        return run.result("degraded" if cut else "completed", reply.message.text, "model", cut)

    async def _taken(self, purpose: Purpose = "step", *, tools: bool = True) -> ModelReply | None:
        """One turn. ``None``: there is no money for it, and the run waits for some."""
        run = self._run
        try:
            return await model_turn.take(run, purpose, tools=tools)
        except TurnFailed as failure:
            if failure.kind != "money" or not pausing.for_money(run, failure.reason, failure.refusal):
                raise
            return None

    @around.a_plan
    async def _plan(self) -> None:
        run = self._run
        run.delta.append(UserMessage(text=PLAN_PROMPT))
        while (reply := await self._taken("plan", tools=False)) is None:
            await pausing.unpaused(run)
        tool_calls.refuse(run, reply, "Not run: this was the time to plan.")
        run.delta.append(UserMessage(text=CARRY_OUT_PROMPT))

    def seen_as(self) -> dict[str, object]:
        """Whose its log lines are: ``interlock.telemetry.logs`` asks, for each of them."""
        return seen.fields_of(self._run)

    def current_details(self) -> str:
        """What it shows in the Web UI: ``interlock.current_details`` asks, when somebody looks."""
        return details.of_run(run_status.status(self._run))

    # -- handlers -------------------------------------------------------------------------------------

    @workflow.signal
    def kill(self, *args: Any) -> None:
        """End this run now: ``{reason, by}``."""
        if (note := reading.signal(self._run, Note, args, "kill")) is not None:
            self._run.killed = self._run.killed or note

    @workflow.signal
    def pause(self, *args: Any) -> None:
        """Wait before the next call: ``{reason, by}``. What is in flight completes."""
        if (note := reading.signal(self._run, Note, args, "pause")) is not None:
            pausing.pause(self._run, note)

    @workflow.signal
    def resume(self, *args: Any) -> None:
        """Go on: ``{reason, by}``."""
        if (note := reading.signal(self._run, Note, args, "resume")) is not None:
            pausing.resume(self._run, note)

    @workflow.signal
    def steer(self, *args: Any) -> None:
        """Tell the model something before its next turn: ``{message, by}``."""
        if (steer := reading.signal(self._run, Steer, args, "steer")) is not None:
            self._run.steering.append(UserMessage(text=steer.message))
            self._run.steered = True

    @workflow.signal
    def child_ended(self, *args: Any) -> None:
        """What a run that this one started, and that was cancelled, had done: ``{run, call_id, result}``."""
        if (ended := reading.signal(self._run, ChildEnded, args, "child_ended")) is not None:
            following.heard(self._run, ended)

    @workflow.signal
    def child_waits(self, *args: Any) -> None:
        """That a run that this one started waits for people, or goes on: ``{run, call_id, waits}``."""
        if (said := reading.signal(self._run, ChildWaits, args, "child_waits")) is not None:
            following.heard(self._run, said)

    @workflow.update
    def decide(self, *args: Any) -> RunStatus:
        """Approve or reject a call that waits: ``{call_id, approve, reason, by, arguments_hash}``."""
        asking.decide(self._run, reading.update(Decision, args))
        return run_status.status(self._run)

    @decide.validator
    def _decidable(self, *args: Any) -> None:
        run = self._run
        if (why := approval.refusal(run.waiting, run.decided, reading.update(Decision, args))) is not None:
            raise ValueError(why)

    @workflow.update
    def extend(self, *args: Any) -> RunStatus:
        """Raise limits of this run: ``{limits, by}``."""
        extending.extend(self._run, reading.update(Extension, args))
        return run_status.status(self._run)

    @extend.validator
    def _extendable(self, *args: Any) -> None:
        extending.raised(self._run, reading.update(Extension, args))

    @workflow.query
    def status(self, *args: Any) -> RunStatus:
        """State, step, what is spent and what remains."""
        return run_status.status(self._run)
