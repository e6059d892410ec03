"""What the keys tell a run. What cannot be taken back is asked first; what became of it is said in a notice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from textual.app import App

from interlock.cli.index import Found
from interlock.client import Interlock
from interlock.contracts import PendingApproval
from interlock.errors import InterlockError
from interlock.policies import approval
from interlock.present import one_line
from interlock.top.screens import Ask

SAID = "from interlock top"
"""Why, for whoever reads the history."""


@dataclass(frozen=True)
class Orders:
    """``by``: who is at the keyboard, for the history. ``pausing``: the runs that were asked here to pause."""

    app: App[None]
    interlock: Interlock
    by: str
    pausing: set[str] = field(default_factory=set)

    def pause_or_resume(self, found: Found) -> None:
        run = self.interlock.get(found.run)
        # One that has a call in flight is paused when that is over, and shows it only then.
        if found.state == "paused" or found.run in self.pausing:
            self.pausing.discard(found.run)
            self._send(partial(run.resume, SAID, self.by), f"{found.run} goes on")
        else:
            self.pausing.add(found.run)
            self._send(
                partial(run.pause, SAID, self.by), f"{found.run} waits before its next call; p again lets it go on"
            )

    def kill(self, found: Found) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                kill = self.interlock.get(found.run).kill
                self._send(partial(kill, SAID, self.by), f"kill sent to {found.run}")

        then = "Its calls in flight are cancelled; no final answer is made. What it has done stays done."
        self.app.push_screen(Ask(f"Kill {found.run}?", then), answered)

    def decide(self, found: Found, *, approve: bool) -> None:
        """Show what waits first, and decide it when that is confirmed."""
        self.app.run_worker(self._decide(found, approve=approve), group="actions")

    async def _decide(self, found: Found, *, approve: bool) -> None:
        run = self.interlock.get(found.run)
        try:
            waiting = (await run.status()).pending_approvals
        except InterlockError as error:
            self._complain(error)
            return
        if not waiting:
            self.app.notify(f"nothing waits for a decision in {found.run}", markup=False)
            return
        call = waiting[0]

        def answered(yes: bool | None) -> None:
            if yes:
                done = "approved" if approve else "rejected"
                # For these arguments: the call that waits may be another one when this is answered.
                decide = partial(run.decide, call.call_id, approve, SAID, self.by, arguments_hash=call.arguments_hash)
                self._send(decide, f"{done}: {call.tool} of {found.run}")

        question = Ask(_asked(call, approve=approve), f"{call.call_id} of {found.run}: {call.why}")
        self.app.push_screen(question, answered)

    def _send(self, request: Callable[[], Awaitable[object]], done: str) -> None:
        """Send something to a run, and say that it is sent."""
        self.app.run_worker(self._sent(request, done), group="actions")

    async def _sent(self, request: Callable[[], Awaitable[object]], done: str) -> None:
        try:
            await request()
        except InterlockError as error:
            self._complain(error)
        else:
            self.app.notify(done, markup=False)

    def _complain(self, error: InterlockError) -> None:
        self.app.notify(one_line(str(error)), severity="error", markup=False)


def _asked(call: PendingApproval, *, approve: bool) -> str:
    """What is answered with yes, the arguments whole."""
    made = f"{call.tool}({approval.visible(call.arguments)})"
    if call.kind == "outcome":
        return f"{made}: {'it did take effect' if approve else 'it took no effect'}?"
    return f"{'Approve' if approve else 'Reject'} {made}?"
