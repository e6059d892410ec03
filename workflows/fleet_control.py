"""``FleetControl``: kill switches and breakers of the whole fleet, one entity for ever.

It asks ``interlock.policies``: ``switch``, ``breakers``, ``room`` and ``fleet``. It writes each change into its memo:
every worker waits on this workflow's history, and mirrors what the memo says (``activities/mirror.py``). Kills of a
user or of everything are followed by a sweep that ends the open runs they cover, in order.

Served on a task queue of its own by every worker: whichever is left keeps the switch alive.
"""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from pydantic import BaseModel

    from interlock.contracts import (
        AcquireProbe,
        Configure,
        FleetState,
        FleetStatus,
        Kill,
        KillOrder,
        Outcomes,
        ProbeReply,
        Report,
        Stopped,
        Sweep,
        parse,
        parse_one,
    )
    from interlock.fleet import FleetView
    from interlock.policies import breaker, breakers, details, fleet, room, switch
    from workflows.fleet_duties import Duties

M = TypeVar("M", bound=BaseModel)


@workflow.defn(name="FleetControl")
class FleetControl:
    @workflow.init
    def __init__(self, *args: Any) -> None:
        self._memo: dict[str, Any] = dict(workflow.memo())
        try:
            self._state = parse(FleetState, args[0]) if len(args) == 1 else FleetState()
        except ValueError:  # it cannot be read: what is killed stays killed, as far as the memo tells
            self._state = FleetView.of(self._memo).state()
        self._duties = Duties(self._state.rules, self._swept)
        self._unheard: deque[tuple[str, tuple[Any, ...]] | Outcomes | Stopped] = deque()
        self._work = 0
        self._told: FleetState | None = None

    @workflow.run
    async def run(self, *args: Any) -> None:
        fading = asyncio.create_task(self._fade())
        while not (self._may_continue() or fading.done()):
            self._hear()
            self._become(room.fit(self._state, workflow.now()))
            self._publish()
            self._work = 0
            if self._unheard:
                await asyncio.sleep(0.001)  # the others in a task of their own
            await workflow.wait_condition(lambda: self._has_news() or fading.done())
        if fading.done():
            fading.result()  # it has failed, and so does this task: the next worker may do better
        fading.cancel()
        self._duties.stop()
        await workflow.wait_condition(workflow.all_handlers_finished)
        # The server begins the next with the memo that the first began with, and lets it have its first task a second
        # later: until then nobody would be killed.
        workflow.continue_as_new(self._state, memo=fleet.published(self._state))

    def _has_news(self) -> bool:
        return bool(self._unheard) or self._state is not self._told or self._may_continue()

    async def _fade(self) -> None:
        """Have done what time alone does, while there is anything that it changes."""
        while True:
            await workflow.wait_condition(lambda: fleet.fades(self._state))
            await asyncio.sleep(self._state.rules.settle_every)
            self._become(fleet.settle(self._state, workflow.now()))

    def _may_continue(self) -> bool:
        """When it is quiet: whoever signals while it continues as new waits for a second or more. What it has not heard
        yet, and what it has not told, would be lost."""
        info = workflow.info()
        if not info.is_continue_as_new_suggested() or self._unheard or self._duties.telling_runs:
            return False
        busy = self._duties.alerting or self._duties.sweeping
        return not busy or info.get_current_history_length() >= self._state.rules.events

    def _become(self, state: FleetState) -> None:
        """Take ``state``; ``_publish`` tells everybody, once for all that one task brings."""
        if state.breakers is not self._state.breakers:
            for name, after in state.breakers.items():
                before = self._state.breakers.get(name)
                if after is not before and after.state == "open" and (before is None or before.state != "open"):
                    self._duties.opened(name, after)
        if state.no_room > self._state.no_room:
            workflow.logger.warning("no room for an order or a breaker: %d so far", state.no_room)
        self._state = state

    def _publish(self) -> None:
        """Tell everybody what has changed, and have done what it asks for."""
        now = fleet.published(self._state, self._told, self._memo)
        changed: dict[str, Any] = {key: value for key, value in now.items() if self._memo.get(key) != value}
        changed |= dict.fromkeys(key for key in self._memo if key not in now)
        if changed:
            workflow.upsert_memo(changed)
            self._memo = dict(now)
        self._duties.sweep(switch.to_sweep(self._state))
        self._told = self._state

    def _swept(self, key: str, killed: Kill, sweep: Sweep) -> None:
        self._become(switch.swept(self._state, key, killed, sweep))

    # -- what it is told -----------------------------------------------------------------------------------------

    def _hear(self) -> None:
        """Take in what has been signalled, in its order, and as much as one task can."""
        while self._unheard and self._work < self._state.rules.heard_at_once:
            self._work += 1
            match self._unheard.popleft():
                case Outcomes() as outcomes:
                    self._become(breakers.observe(self._state, outcomes, workflow.now()))
                case Stopped() as done:
                    self._become(switch.count(self._state, done))
                case (signal, args):
                    self._take(signal, args)

    def _take(self, signal: str, args: tuple[Any, ...]) -> None:
        """A signal that cannot be read is counted, logged and ignored: one that raised would deafen the switch."""
        told: Report | KillOrder
        try:
            told = parse_one(Report, args) if signal == "report" else parse_one(KillOrder, args)
        except ValueError as error:
            ignored = self._state.ignored_signals + 1
            self._state = self._state.model_copy(update={"ignored_signals": ignored})
            workflow.logger.warning("signal ignored: %s: %s", signal, error)
            return
        match told:
            case Report():  # of up to a thousand, which are taken in one by one
                self._unheard.extendleft(reversed((*told.outcomes, *told.kills)))
            case KillOrder() if signal == "kill":
                self._killed(told)
            case KillOrder():
                self._become(switch.release(self._state, told, workflow.now()))

    def _killed(self, order: KillOrder) -> None:
        self._become(switch.kill(self._state, order, workflow.now()))
        if order.scope == "run" and order.by == "interlock":
            self._duties.killed(order)
        if order.scope == "run" and not order.run_knows:
            self._duties.tell(order)

    # -- handlers ------------------------------------------------------------------------------------------------

    @workflow.signal
    def kill(self, *args: Any) -> None:
        """Kill a run, a user's runs or everything: ``{scope, subject, reason, by}``."""
        self._unheard.append(("kill", args))

    @workflow.signal
    def release(self, *args: Any) -> None:
        """Let new runs of a user, or of all, in again: ``{scope, subject, reason, by}``."""
        self._unheard.append(("release", args))

    @workflow.signal
    def report(self, *args: Any) -> None:
        """What a worker's calls came to: ``{worker, outcomes}``."""
        self._unheard.append(("report", args))

    @workflow.update
    def acquire_probe(self, *args: Any) -> ProbeReply:
        """Be the one call that tries a dependency that was down: ``{dependency, worker}``."""
        asked = parse_one(AcquireProbe, args)
        self._hear()  # what came before it
        found = self._state.breakers.get(asked.dependency)
        if found is None:
            return ProbeReply(granted=False)
        now, rules = workflow.now(), self._state.rules
        until = now + timedelta(seconds=min(asked.seconds, rules.probe_seconds) + rules.probe_margin)
        settings = breakers.settings_of(self._state, asked.dependency)
        after, reply = breaker.acquire(settings, found, asked.worker, until, now)
        self._become(self._state.model_copy(update={"breakers": {**self._state.breakers, asked.dependency: after}}))
        return reply

    @acquire_probe.validator
    def _acquirable(self, *args: Any) -> None:
        parse_one(AcquireProbe, args)

    @workflow.update
    def configure(self, *args: Any) -> FleetStatus:
        """How a dependency's breaker judges, or all that have no settings of their own: ``{dependency, settings}``."""
        asked = parse_one(Configure, args)
        if asked.dependency:
            settings = {**self._state.settings, asked.dependency: asked.settings}
            self._become(self._state.model_copy(update={"settings": settings}))
        else:
            self._become(self._state.model_copy(update={"defaults": asked.settings}))
        return self.status()

    @configure.validator
    def _configurable(self, *args: Any) -> None:
        if (why := room.too_many_settings(self._state, parse_one(Configure, args).dependency)) is not None:
            raise ValueError(why)

    @workflow.query
    def status(self, *args: Any) -> FleetStatus:
        """Kills in force, breakers and their settings."""
        state = self._state
        return FleetStatus(
            kills=tuple(state.kills.values()),
            released=tuple(state.released.values()),
            breakers=breakers.views(state),
            defaults=state.defaults,
            settings=state.settings,
            ignored_signals=state.ignored_signals,
            no_room=state.no_room,
        )

    def current_details(self) -> str:
        """For ``interlock.current_details``, which asks when somebody looks."""
        return details.of_fleet(self.status(), workflow.info().workflow_id)
