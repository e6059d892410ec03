"""``FleetControl``: kill switches and breakers of the whole fleet, one entity for ever.

It asks ``interlock.policies.fleet`` and ``breaker``, and writes each change into its memo: every worker waits on
this workflow's history, and mirrors what the memo says (``activities/mirror.py``). Kills of a user or of everything
are followed by a sweep that ends the open runs they cover, in order.

Served on a task queue of its own by every worker: whichever is left keeps the switch alive.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from pydantic import BaseModel

    from interlock.contracts import (
        AcquireProbe,
        Configure,
        FleetState,
        FleetStatus,
        KillOrder,
        ProbeReply,
        Report,
        Sweep,
        parse,
    )
    from interlock.fleet import FleetView
    from interlock.policies import breaker, details, fleet
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
            self._state = FleetState(kills=dict(FleetView.of(self._memo).kills))
        self._duties = Duties(self._state.rules, self._swept)

    @workflow.run
    async def run(self, *args: Any) -> None:
        self._become(self._state)
        while not self._may_continue():
            fading = self._fades()
            span = timedelta(seconds=self._state.rules.settle_every) if fading else None
            try:
                await workflow.wait_condition(partial(self._wakes, fading), timeout=span)
            except TimeoutError:
                self._become(fleet.settle(self._state, workflow.now()))
        self._duties.stop()
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(self._state)

    def _wakes(self, fading: bool) -> bool:
        return self._may_continue() or self._fades() != fading

    def _fades(self) -> bool:
        """Whether there is anything that time alone changes."""
        runs = any(each.scope == "run" for each in self._state.kills.values())
        return runs or any(view.watched for view in fleet.views(self._state).values())

    def _may_continue(self) -> bool:
        """When it is quiet: whoever signals while it continues as new waits for a second or more."""
        info = workflow.info()
        busy = self._duties.alerting or self._duties.sweeping
        due = info.is_continue_as_new_suggested()
        return due and (not busy or info.get_current_history_length() >= self._state.rules.events)

    def _become(self, state: FleetState) -> None:
        """Take ``state``, tell everybody, and have done what it asks for."""
        for name, after in state.breakers.items():
            before = self._state.breakers.get(name)
            if after.state == "open" and (before is None or before.state != "open"):
                self._duties.opened(name, after)
        self._state = state
        self._publish()
        self._duties.sweep(state.kills)

    def _publish(self) -> None:
        now = fleet.published(self._state)
        changed: dict[str, Any] = {key: value for key, value in now.items() if self._memo.get(key) != value}
        changed |= dict.fromkeys(key for key in self._memo if key not in now)
        if changed:
            workflow.upsert_memo(changed)
            self._memo = dict(now)
        workflow.set_current_details(details.of_fleet(self.status(), workflow.info().workflow_id))

    def _swept(self, key: str, sweep: Sweep) -> None:
        if (found := self._state.kills.get(key)) is not None:
            kills = {**self._state.kills, key: found.model_copy(update={"sweep": sweep})}
            self._become(self._state.model_copy(update={"kills": kills}))

    # -- handlers ------------------------------------------------------------------------------------------------

    def _heard(self, model: type[M], args: tuple[Any, ...], signal: str, act: Callable[[M], None]) -> None:
        """A signal that cannot be read is counted, logged and ignored: one that raised would deafen the switch."""
        try:
            payload = _one(model, args)
        except ValueError as error:
            ignored = self._state.ignored_signals + 1
            self._state = self._state.model_copy(update={"ignored_signals": ignored})
            workflow.logger.warning("signal ignored: %s: %s", signal, error)
        else:
            act(payload)

    @workflow.signal
    def kill(self, *args: Any) -> None:
        """Kill a run, a user's runs or everything: ``{scope, subject, reason, by}``."""

        def act(order: KillOrder) -> None:
            after = fleet.kill(self._state, order, workflow.now())
            if order.scope == "run" and order.by == "interlock" and after is not self._state:
                self._duties.killed(order)
            if order.scope == "run" and not order.run_knows:
                self._duties.tell(order)
            self._become(after)

        self._heard(KillOrder, args, "kill", act)

    @workflow.signal
    def release(self, *args: Any) -> None:
        """Let new runs of a user, or of all, in again: ``{scope, subject, reason, by}``."""

        def act(order: KillOrder) -> None:
            self._become(fleet.release(self._state, order))

        self._heard(KillOrder, args, "release", act)

    @workflow.signal
    def report(self, *args: Any) -> None:
        """What a worker's calls came to: ``{worker, outcomes}``."""

        def act(told: Report) -> None:
            state = self._state
            for outcomes in told.outcomes:
                state = fleet.observe(state, outcomes, workflow.now())
            for done in told.kills:
                state = fleet.count(state, done)
            self._become(state)

        self._heard(Report, args, "report", act)

    @workflow.update
    def acquire_probe(self, *args: Any) -> ProbeReply:
        """Be the one call that tries a dependency that was down: ``{dependency, worker}``."""
        asked = _one(AcquireProbe, args)
        found = self._state.breakers.get(asked.dependency)
        if found is None:
            return ProbeReply(granted=False)
        now, rules = workflow.now(), self._state.rules
        until = now + timedelta(seconds=min(asked.seconds, rules.probe_seconds) + rules.probe_margin)
        settings = fleet.settings_of(self._state, asked.dependency)
        after, reply = breaker.acquire(settings, found, asked.worker, until, now)
        self._become(self._state.model_copy(update={"breakers": {**self._state.breakers, asked.dependency: after}}))
        return reply

    @acquire_probe.validator
    def _acquirable(self, *args: Any) -> None:
        _one(AcquireProbe, args)

    @workflow.update
    def configure(self, *args: Any) -> FleetStatus:
        """How a dependency's breaker judges, or all that have no settings of their own: ``{dependency, settings}``."""
        asked = _one(Configure, args)
        if asked.dependency:
            settings = {**self._state.settings, asked.dependency: asked.settings}
            self._become(self._state.model_copy(update={"settings": settings}))
        else:
            self._become(self._state.model_copy(update={"defaults": asked.settings}))
        return self.status()

    @configure.validator
    def _configurable(self, *args: Any) -> None:
        asked = _one(Configure, args)
        most = self._state.rules.kept_settings
        if asked.dependency and asked.dependency not in self._state.settings and len(self._state.settings) >= most:
            raise ValueError(f"{most} dependencies have settings of their own; there can be no more")

    @workflow.query
    def status(self, *args: Any) -> FleetStatus:
        """Kills in force, breakers and their settings."""
        state = self._state
        return FleetStatus(
            kills=tuple(state.kills.values()),
            breakers=fleet.views(state),
            defaults=state.defaults,
            settings=state.settings,
            ignored_signals=state.ignored_signals,
        )


def _one(model: type[M], args: tuple[Any, ...]) -> M:
    if len(args) != 1:
        raise ValueError(f"takes one JSON object; {len(args)} were given")
    return parse(model, args[0])
