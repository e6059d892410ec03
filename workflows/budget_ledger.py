"""``BudgetLedger``: one shared account, for ever. It asks ``interlock.policies.ledger`` and ``leasing``, and answers.

Its state is the input it carries over continue-as-new; nothing else knows what an account has spent. So where a worker
cannot read that, or an update that was accepted, it must not go on: the account would begin again at zero, and lend its
money twice. There, and nowhere else in this room, the task of the workflow is let fail: nothing is granted, nothing is
forgotten, and it goes on as it was when a worker with the key is back.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from pydantic import BaseModel

    from interlock import options, ports
    from interlock.accounts import account_of
    from interlock.contracts import (
        AccountLimit,
        AuditCall,
        LeaseReply,
        LeaseRequest,
        LedgerState,
        LedgerStatus,
        Observation,
        Settlement,
        SettleReply,
        parse_one,
    )
    from interlock.policies import alerts, anomaly, details, leasing, ledger, spending
    from interlock.telemetry import names
    from workflows.raising import Raising
    from workflows.seen import warn

M = TypeVar("M", bound=BaseModel)


@workflow.defn(name="BudgetLedger")
class BudgetLedger:
    @workflow.init
    def __init__(self, *args: Any) -> None:
        account = account_of(workflow.info().workflow_id)
        self._lost: str | None = None
        try:
            self._state = parse_one(LedgerState, args)
        except ValueError as error:
            self._state = LedgerState(account=account)  # it was begun with nothing, or with nonsense; or:
            self._lost = _lost(account, error) if workflow.info().continued_run_id is not None else None
        self._alerts = Raising(self._state.settings.alerts_at_once)

    @workflow.run
    async def run(self, *args: Any) -> None:
        self._read()
        while not self._may_continue():
            held = bool(self._state.leases)  # a first lease begins the watch over those who hold some
            span = timedelta(seconds=self._state.settings.audit_after)
            try:
                await workflow.wait_condition(partial(self._has_work, held), timeout=span if held else None)
            except TimeoutError:
                await self._audit()
        workflow.continue_as_new(self._state)

    def _read(self) -> None:
        """Raises where nobody can know what the account has spent: with the task, all that came with it is undone."""
        if self._lost is not None:
            raise RuntimeError(self._lost)

    def _asked(self, model: type[M], args: tuple[Any, ...]) -> M:
        self._read()  # a handler may come before ``run``
        return parse_one(model, args)

    def _has_work(self, held: bool) -> bool:
        return self._may_continue() or bool(self._state.leases) != held

    def _may_continue(self) -> bool:
        """Not with alerts that nobody has heard: the state says that they were told."""
        if self._alerts.under_way:
            return False
        return workflow.info().is_continue_as_new_suggested() and workflow.all_handlers_finished()

    async def _audit(self) -> None:
        """Charge the leases of runs that ended without settling: terminated, timed out, lost."""
        old = ledger.stale(self._state, workflow.now())
        if not old:
            return
        try:
            gone = await workflow.execute_activity_method(
                ports.Ledgers.audit, AuditCall(runs=tuple(old)), **options.audit()
            )
        except ActivityError as error:
            warn(names.AUDIT_FAILED, error=str(error.cause))
            return
        self._state = ledger.charge_gone(self._state, gone)
        self._tell()

    def _tell(self) -> None:
        """Tell people of the shares of the limit that are spent now."""
        self._state, shares = spending.news(self._state)
        for share in shares:
            self._alerts.add(alerts.account_limit(self._state, share, workflow.now()))

    # -- handlers -------------------------------------------------------------------------------------------

    @workflow.update
    def lease(self, *args: Any) -> LeaseReply:
        """Take money for a run: ``{run, usd}``."""
        state, reply = leasing.lease(self._state, self._asked(LeaseRequest, args), workflow.now())
        self._state = state
        self._tell()
        return reply

    @lease.validator
    def _leasable(self, *args: Any) -> None:
        request = self._asked(LeaseRequest, args)
        if (why := leasing.refusal(self._state, request)) is not None:
            raise ValueError(f"account {self._state.account}: {why}")
        after, reply = leasing.lease(self._state, request, workflow.now())
        if reply.busy and request.enough and after.leases == self._state.leases:
            # Rejected here, it leaves no trace in history, however many wait and however often they ask.
            raise ApplicationError(f"the money of {self._state.account} is held by other runs", type="AccountBusy")

    @workflow.update
    def settle(self, *args: Any) -> SettleReply:
        """Tell what a run has spent: ``{run, spent_usd, unsettled_usd, closed}``."""
        state, reply = ledger.settle(self._state, self._asked(Settlement, args), workflow.now())
        self._state = state
        self._tell()
        return reply

    @settle.validator
    def _settleable(self, *args: Any) -> None:
        self._asked(Settlement, args)

    @workflow.update
    def set_limit(self, *args: Any) -> LedgerStatus:
        """Set the account's limit: ``{usd, window}``."""
        self._state = ledger.set_limit(self._state, self._asked(AccountLimit, args), workflow.now())
        return self.status()

    @set_limit.validator
    def _limitable(self, *args: Any) -> None:
        self._asked(AccountLimit, args)

    @workflow.signal
    def observe(self, *args: Any) -> None:
        """Tell what a run cost: ``{run, usd, outcome}``."""
        try:
            seen = parse_one(Observation, args)
        except ValueError as error:
            self._state = self._state.model_copy(update={"ignored_signals": self._state.ignored_signals + 1})
            warn(names.SIGNAL_IGNORED, signal="observe", error=str(error))
            return
        why = anomaly.cost_outlier(self._state.settings, self._state.costs, seen.usd)
        self._state = ledger.observe(self._state, seen)
        if why is not None:
            self._alerts.add(alerts.cost_outlier(self._state.account, seen, why))

    @workflow.query
    def status(self, *args: Any) -> LedgerStatus:
        """Limit, window, spent, leased, remaining."""
        return ledger.status(self._state, workflow.now())

    def current_details(self) -> str:
        """For ``interlock.current_details``, which asks when somebody looks."""
        return details.of_ledger(self.status())


def _lost(account: str, error: ValueError) -> str:
    return (
        f"account {account}: what it has spent and lent cannot be read here: {error}. Start a worker with the key; "
        "if it is lost, terminate this workflow: the account then begins again at zero"
    )
