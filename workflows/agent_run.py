"""``AgentRun``: one run of an agent. The loop and its handlers, nothing else.

    resolve the agent -> [ model -> tools ]* -> result

Laws of this room (DESIGN, section 2): a workflow decides nothing and does nothing, it asks a policy and
issues a command; whatever can change a decision is in its input or state; Temporal owns retries.

Handlers take ``*args`` and never raise. A signal that raises would fail the workflow task again and again,
and the run would be deaf to everything, kill and cancel included: what cannot be read is counted, logged and
ignored. Updates are refused by their validators, which leaves no trace in history.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

# Passed through, so that a run does not execute these modules again: they hold no state of their own, and
# tests/test_architecture.py keeps clocks, chance and I/O out of them. This module itself is never passed
# through: that would share its globals between runs.
with workflow.unsafe.imports_passed_through():
    from pydantic import BaseModel

    from interlock import options, ports
    from interlock.accounts import agent_account, ledger_id
    from interlock.contracts import (
        AgentResult,
        AgentTask,
        Carried,
        ChildEnded,
        ChildWaits,
        Decision,
        Extension,
        Limits,
        ModelReply,
        Note,
        Observation,
        Purpose,
        ResolveAgent,
        RunStatus,
        Steer,
        UserMessage,
        parse,
    )
    from interlock.policies import approval, budget, children
    from interlock.policies.budget import Refusal
    from interlock.policies.degradation import Trouble
    from interlock.telemetry import names
    from workflows import around, asking, child_runs, grants, killed, ladder, model_turn, seen, tool_calls
    from workflows.run_state import Run

M = TypeVar("M", bound=BaseModel)


@workflow.defn(name="AgentRun")
class AgentRun:
    @workflow.init
    def __init__(self, *args: Any) -> None:
        # Here and not in `run`: a signal or an update may come before its first line.
        self._refusal: str | None = None
        self._run = self._read(args)
        self._run.shown.begin({pair.key.name: pair.value for pair in workflow.info().typed_search_attributes})

    def _read(self, args: tuple[Any, ...]) -> Run:
        given = args[0] if len(args) == 1 else None
        try:
            if isinstance(given, dict) and given.get("kind") == "interlock.carried":
                return Run.carried(parse(Carried, given))
            if len(args) != 1:
                raise ValueError(f"AgentRun takes one AgentTask; {len(args)} arguments were given")
            return Run.fresh(parse(AgentTask, given))
        except ValueError as error:
            self._refusal = str(error)
            return Run.fresh(AgentTask(agent="unknown", input="unreadable"))

    @workflow.run
    @around.a_run
    async def run(self, *args: Any) -> AgentResult:
        if self._refusal is not None:
            raise ApplicationError(f"invalid task: {self._refusal}", type="InvalidTask", non_retryable=True)
        run = self._run
        run.clock.start()
        work = asyncio.create_task(child_runs.telling_of_waits(run, self._work()))
        try:
            await workflow.wait_condition(lambda: work.done() or run.killed is not None)
        except asyncio.CancelledError:
            if run.killed is None:
                await self._stop(work)
                closed = await self._close(lambda: run.result("cancelled", "", "notice", "cancelled"))
                await child_runs.tell_parent(run, closed)
                raise
        if run.killed is not None:
            raise await self._killed(work, run.killed)
        await workflow.wait_condition(workflow.all_handlers_finished)
        try:
            done = work.result()
        except ApplicationError:
            run.enter("closed")
            raise
        if isinstance(done, Carried):
            workflow.continue_as_new(done)
        # An answer that is there is not lost to a cancellation that comes while it is being settled.
        closing = asyncio.create_task(self._close(done))
        try:
            return await asyncio.shield(closing)
        except asyncio.CancelledError:
            return await closing

    async def _work(self) -> AgentResult | Carried:
        run = self._run
        try:
            if not run.resolved:
                await self._resolve()
            else:  # carried over: by continue-as-new, or from another run's conversation
                run.enter("paused" if run.paused else "running")
            if run.tier is None:
                run.tier = await model_turn.classify(run) if run.task.complexity == "auto" else run.task.complexity
            if run.spec.plan and run.messages == 0:
                await self._plan()
            while True:
                await run.unpaused()
                if run.transcript is not None:
                    return run.carry(run.transcript)
                if (reason := budget.spent_up(run.spec.bounds, run.limits, run.spent)) is not None:
                    return await ladder.step_down(run, Trouble("limit", reason))
                if (result := await self._step()) is not None:
                    return result
        except model_turn.TurnFailed as failure:
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
        elif not run.steering:
            if run.cut_to is not None and self._may_wait(f"the answer was cut off: {run.cut_to}"):
                run.delta.append(UserMessage(text=model_turn.WHOLE_PROMPT))
                return None
            cut = "the answer was cut off by its length" if reply.finish == "length" else None
            cut = f"the answer was cut off: {run.cut_to}" if run.cut_to is not None else cut
            return run.result("degraded" if cut else "completed", reply.message.text, "model", cut)
        return None

    async def _taken(self, purpose: Purpose = "step", *, tools: bool = True) -> ModelReply | None:
        """One turn. ``None``: there is no money for it, and the run waits for some."""
        run = self._run
        try:
            return await model_turn.take(run, purpose, tools=tools)
        except model_turn.TurnFailed as failure:
            if failure.kind != "money" or not self._may_wait(failure.reason, failure.refusal):
                raise
            return None

    def _may_wait(self, reason: str, refusal: Refusal | None = None) -> bool:
        """Whether a run that is out of money waits for some. One that works for another has a part of that one's money:
        no person can give it more."""
        run = self._run
        if run.spec.on_budget != "pause" or run.task.parent is not None:
            return False
        run.wait_for_money(budget.way_out(reason, refusal), refusal.until if refusal else None)
        return True

    async def _resolve(self) -> None:
        run = self._run
        ask = ResolveAgent(agent=run.task.agent, user_id=run.task.user_id, begun=run.first_begun)
        try:
            spec = await workflow.execute_activity_method(
                ports.Agents.resolve_agent, ask, **options.resolve_agent(run.task)
            )
        except ActivityError as error:
            if killed.stopped(run, error):
                raise asyncio.CancelledError from error
            if isinstance(error.cause, ApplicationError):
                # Under its own name: a run that cannot begin fails as UnknownAgent, not as an activity's error.
                raise ApplicationError(error.cause.message, type=error.cause.type, non_retryable=True) from error
            raise
        try:
            limits = children.limits_of(spec.limits, run.task)
        except ValueError as error:
            raise ApplicationError(f"invalid task: {error}", type="InvalidTask", non_retryable=True) from error
        run.resolve(spec, limits)
        run.enter("paused" if run.paused else "running")

    @around.a_plan
    async def _plan(self) -> None:
        run = self._run
        run.delta.append(UserMessage(text=model_turn.PLAN_PROMPT))
        while (reply := await self._taken("plan", tools=False)) is None:
            await run.unpaused()
        tool_calls.refuse(run, reply, "Not run: this was the time to plan.")
        run.delta.append(UserMessage(text=model_turn.CARRY_OUT_PROMPT))

    async def _killed(self, work: asyncio.Task[Any], note: Note) -> ApplicationError:
        """End the run, whatever it waits for; a cancellation that comes as well, up the ladder, changes nothing."""
        run = self._run
        why = f"{note.reason or 'killed'} (by {note.by})"

        async def end() -> AgentResult:
            telling = asyncio.create_task(killed.tell_fleet(run))
            await self._stop(work)
            await telling
            return await self._close(lambda: run.result("killed", "", "notice", why))

        ending = asyncio.create_task(end())
        while True:
            try:
                result = await asyncio.shield(ending)
            except asyncio.CancelledError:
                if ending.cancelled():
                    raise  # this worker gives the run up: another goes on with it
                continue  # also when it has just ended: a cancellation may come in the same moment
            return ApplicationError(f"killed: {result.reason}", result, type="RunKilled", non_retryable=True)

    async def _stop(self, work: asyncio.Task[Any]) -> None:
        """Cancel what is in flight and wait a little for it to say how it ended."""
        self._run.cancelled = self._run.killed is None
        work.cancel()
        with suppress(TimeoutError):
            await workflow.wait_condition(
                work.done, timeout=options.CANCEL_PATIENCE, timeout_summary="calls in flight say how they ended"
            )

    async def _close(self, result: AgentResult | Callable[[], AgentResult]) -> AgentResult:
        """Settle everything, and say how the run ended: after what is still in flight was charged."""
        run = self._run
        run.settle_abandoned()
        closed = result() if callable(result) else result
        run.clock.stop()
        run.enter("closed")
        await grants.settle(run)
        await self._observe(closed)
        return closed

    async def _observe(self, result: AgentResult) -> None:
        """Tell the agent's ledger what the run cost. Without it statistics are poorer; nothing else is."""
        if not self._run.resolved:
            return
        ledger = workflow.get_external_workflow_handle(ledger_id(agent_account(self._run.spec.name)))
        observed = Observation(run=workflow.info().workflow_id, usd=result.usage.usd, outcome=result.outcome)
        try:
            await ledger.signal("observe", observed)
        except ApplicationError as error:
            seen.tell(names.OBSERVE_FAILED, error=str(error))

    def seen_as(self) -> dict[str, object]:
        """Whose its log lines are: ``interlock.telemetry.logs`` asks, for each of them."""
        return seen.fields_of(self._run)

    # -- handlers -------------------------------------------------------------------------------------

    def _payload(self, model: type[M], args: tuple[Any, ...], signal: str) -> M | None:
        try:
            if len(args) > 1:
                raise ValueError(f"takes one JSON object; {len(args)} were given")
            return parse(model, args[0] if args else {})
        except ValueError as error:
            self._run.ignored_signals += 1
            seen.warn(names.SIGNAL_IGNORED, signal=signal, error=str(error))
            return None

    @workflow.signal
    def kill(self, *args: Any) -> None:
        """End this run now: ``{reason, by}``."""
        if (note := self._payload(Note, args, "kill")) is not None:
            self._run.killed = self._run.killed or note

    @workflow.signal
    def pause(self, *args: Any) -> None:
        """Wait before the next call: ``{reason, by}``. What is in flight completes."""
        if (note := self._payload(Note, args, "pause")) is not None:
            self._run.pause(note)

    @workflow.signal
    def resume(self, *args: Any) -> None:
        """Go on: ``{reason, by}``."""
        if (note := self._payload(Note, args, "resume")) is not None:
            self._run.resume(note)

    @workflow.signal
    def steer(self, *args: Any) -> None:
        """Tell the model something before its next turn: ``{message, by}``."""
        if (steer := self._payload(Steer, args, "steer")) is not None:
            self._run.steering.append(UserMessage(text=steer.message))

    @workflow.signal
    def child_ended(self, *args: Any) -> None:
        """What a run that this one started, and that was cancelled, had done: ``{run, call_id, result}``."""
        if (ended := self._payload(ChildEnded, args, "child_ended")) is not None:
            child_runs.heard(self._run, ended)

    @workflow.signal
    def child_waits(self, *args: Any) -> None:
        """That a run that this one started waits for people, or goes on: ``{run, call_id, waits}``."""
        if (said := self._payload(ChildWaits, args, "child_waits")) is not None:
            child_runs.heard(self._run, said)

    @workflow.update
    def decide(self, *args: Any) -> RunStatus:
        """Approve or reject a call that waits: ``{call_id, approve, reason, by, arguments_hash}``."""
        asking.decide(self._run, _one(Decision, args))
        return self._run.status()

    @decide.validator
    def _decidable(self, *args: Any) -> None:
        run = self._run
        if (why := approval.refusal(run.waiting, run.decided, _one(Decision, args))) is not None:
            raise ValueError(why)

    @workflow.update
    def extend(self, *args: Any) -> RunStatus:
        """Raise limits of this run: ``{limits, by}``."""
        run = self._run
        run.limits = self._extended(args)
        if run.short_of_money:
            run.resume(Note(reason="extended", by=_one(Extension, args).by))
        run.show()
        return run.status()

    @extend.validator
    def _extendable(self, *args: Any) -> None:
        self._extended(args)

    def _extended(self, args: tuple[Any, ...]) -> Limits:
        if not self._run.resolved:
            raise ValueError("the run has not resolved its agent yet; try again in a moment")
        raised = _one(Extension, args).limits
        if (why := children.not_its_own(self._run.task, raised)) is not None:
            raise ValueError(why)
        return budget.extend(self._run.limits, raised)

    @workflow.query
    def status(self, *args: Any) -> RunStatus:
        """State, step, what is spent and what remains."""
        return self._run.status()


def _one(model: type[M], args: tuple[Any, ...]) -> M:
    """The argument of an update. One that was accepted may be unreadable to another worker that replays it: that fails
    the update and not the task."""
    try:
        if len(args) != 1:
            raise ValueError(f"takes one JSON object; {len(args)} were given")
        return parse(model, args[0])
    except ValueError as error:
        raise ApplicationError(str(error), type="ValueError") from None
