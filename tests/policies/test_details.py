"""What the Web UI shows of a workflow, and that no text in it becomes markup."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.contracts import (
    AgentTask,
    BreakerView,
    FleetStatus,
    Kill,
    KilledCall,
    KillReport,
    LedgerStatus,
    Limits,
    PendingApproval,
    RunStatus,
    State,
    Sweep,
    Usage,
)
from interlock.policies import details
from interlock.policies.markdown import code

NOON = datetime(2026, 11, 23, 12, 0, 5, tzinfo=UTC)
RUN = RunStatus(
    run="analyst-why-3f2a",
    agent="analyst",
    user_id="ada",
    state="running",
    step=3,
    tool_calls=4,
    model="anthropic:claude-sonnet-4-5",
    limits=Limits(usd="0.50", steps=50, tokens=10_000, seconds=1200),
    usage=Usage(usd=Decimal("0.0144"), input_tokens=2000, output_tokens=345),
)
WAITS = PendingApproval(
    call_id="call-7", tool="send_email", arguments='{"to": "x"}', since=NOON, expires=NOON + timedelta(days=1)
)
ASKED = "2026-11-23 12:00 UTC, until 2026-11-24 12:00 UTC"


def asks_for(to: str) -> PendingApproval:
    return WAITS.model_copy(update={"arguments": f'{{"to": "{to}"}}'})


CALL = KilledCall(call_id="1", tool="search")
REPORT = KillReport(completed=(CALL, CALL), unknown=(KilledCall(call_id="2", tool="send_email"),))
LEDGER = LedgerStatus(
    account="user:ada",
    limit_usd=Decimal("5.00"),
    window="day",
    window_ends=NOON,
    spent_usd=Decimal("1.25"),
    unsettled_usd=Decimal(0),
    leased_usd=Decimal("0.25"),
    remaining_usd=Decimal("3.50"),
    leases=1,
    runs=7,
)
KILLED = Kill(scope="user", subject="ada", reason="loops", by="grace", at=NOON, sweep=Sweep(ended=3, done=True))


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ({}, ["**Running** · step 3 of 50 · `anthropic:claude-sonnet-4-5` · `$0.0144 of $0.50`"]),
        ({}, ["- money: `$0.4856` left of `$0.50`", "- tokens: 2,345 of 10,000", "- tool calls: 4"]),
        ({}, ["- time: at most 1,200 s of work", "```\ninterlock follow analyst-why-3f2a\n"]),
        ({}, ["interlock pause analyst-why-3f2a\ninterlock kill analyst-why-3f2a\n```"]),
        ({"limits": Limits(), "model": None}, ["**Running** · step 3 · `$0.0144`\n", "- tokens: 2,345\n"]),
        ({"state": "paused", "reason": "lunch"}, ["**Paused** ·", "why: `lunch`", "interlock resume analyst-why-3f2a"]),
        ({"state": "closed", "outcome": "killed"}, ["**Killed** ·", "interlock transcript analyst-why-3f2a"]),
        (
            {"state": "closed", "outcome": "killed", "kill_report": REPORT},
            [
                "- **stopped**, did not happen: nothing\n- completed before: `search` x 2\n",
                "effect**: `send_email` x 1",
            ],
        ),
        ({"breakers": ("m: open until 12:00:05 UTC",)}, ["**Breakers met**\n\n- `m: open until 12:00:05 UTC`"]),
        ({"breakers": ("m: open",) * 25}, ["\n\nand 5 more\n"]),
        ({"ignored_signals": 1}, ["- 1 signal could not be read"]),
        ({"usage": Usage(usd=Decimal("0.1"), usd_unsettled=Decimal("0.02"))}, ["what became of the call: `$0.0200`"]),
        (
            {"state": "waiting_approval", "pending_approvals": (WAITS,)},
            [
                "**Waiting for approval** ·",
                f"**Waits for a person**: `send_email` since {ASKED}",
                '- `{"to": "x"}`',
                "```\ninterlock approve analyst-why-3f2a call-7\ninterlock reject analyst-why-3f2a call-7\n```",
            ],
        ),
        (
            {
                "pending_approvals": (
                    WAITS.model_copy(update={"kind": "outcome", "why": "it timed out. approve: it did"}),
                )
            },
            [
                f"**Waits for word whether it took effect**: `send_email` since {ASKED}",
                '- `{"to": "x"}`\n- why: `it timed out. approve: it did`\n',
                "interlock approve analyst-why-3f2a call-7\n",
            ],
        ),
        (
            {"pending_approvals": (asks_for("y" * 900),)},
            [f'- `{{"to": "{"y" * 900}"}}`\n', "interlock approve analyst"],
        ),
        ({"pending_approvals": (asks_for("a\u202eb\u200b`c"),)}, ['- `{"to": "a\\u202eb\\u200b\\u0060c"}`']),
        ({"run": "two words; rm"}, ["interlock kill 'two words; rm'"]),
    ],
)
def test_a_run(status: dict[str, object], shown: list[str]) -> None:
    text = details.of_run(RUN.model_copy(update=status))
    for each in shown:
        assert each in text


def test_nobody_is_asked_to_approve_a_part_of_what_is_done() -> None:
    text = details.of_run(RUN.model_copy(update={"pending_approvals": (asks_for("y" * 5000),)}))
    assert "interlock approve" not in text
    assert "interlock reject" not in text
    assert "```\ninterlock status analyst-why-3f2a\n```" in text


def test_every_state_has_a_word() -> None:
    assert set(details.STATES) == set(State.__args__)  # type: ignore[attr-defined]


def test_the_fleet() -> None:
    assert details.of_fleet(FleetStatus(), "f") == "**0 kills in force** · **0 breakers not closed**"
    view = BreakerView(state="open", retry_at=NOON, error="HTTP 529")
    told = FleetStatus(kills=(KILLED,), breakers={"openai:gpt-5": view, "tool:search": BreakerView()})
    text = details.of_fleet(told, "interlock-fleet")
    assert "**1 kill in force** · **1 breaker not closed**" in text
    assert "- user `ada` by `grace` since 12:00:05 UTC: `loops`; 3 runs ended; 0 calls stopped, 0 refused" in text
    assert "- `openai:gpt-5` **open**, one call may try at 12:00:05 UTC: `HTTP 529`" in text
    assert "tool:search" not in text
    assert "no room" not in text
    assert "no room 2 times for an order" in details.of_fleet(told.model_copy(update={"no_room": 2}), "f")
    order = '\'{"scope": "user", "subject": "ada"}\''
    assert f"temporal workflow signal --workflow-id interlock-fleet \\\n--name release --input {order}\n```" in text


def test_a_ledger() -> None:
    text = details.of_ledger(LEDGER)
    assert "`user:ada` · `$1.2500` of `$5.00` a day" in text
    assert "- leased to runs: `$0.2500`, 1 run\n- left to lease: `$3.5000`\n" in text
    assert "interlock budget set user:ada --usd 10.00 --window day" in text
    bare = LEDGER.model_copy(update={"limit_usd": None, "window": None, "remaining_usd": None})
    assert "`user:ada` · no limit yet" in details.of_ledger(bare)


def test_a_task() -> None:
    task = AgentTask(agent="a", input="Why?\n```\n# not a heading", user_id="ada", limits=Limits(usd="0.5"))
    assert details.of_task(task) == (
        "agent `a` for `ada` · complexity `medium`\n\n- limits `usd`: `0.5`\n\n```\nWhy?\n'''\n# not a heading\n```"
    )


ANYTHING = st.text(
    st.one_of(st.sampled_from("`*_<>[]()\\|\n\r\t #-~$&!\"'\u2028\u202e"), st.characters(codec=None)), max_size=80
)
FIRST = re.compile(r"^(\*\*|- |`|```|step |why: `|and |agent |interlock |temporal |[0-9])")


def plain(markdown: str) -> str:
    """``markdown`` without its blocks and spans of code: what is left is ours, and markup in it is meant."""
    assert markdown.isprintable() or set(markdown) - {"\n"} == {c for c in markdown if c.isprintable()}
    out, fenced = [], False
    for line in markdown.split("\n"):
        if line == "```":
            fenced = not fenced
        elif not fenced:
            assert line.count("`") % 2 == 0, line
            out.append(re.sub(r"`[^`]+`", "CODE", line))
            assert "$" not in out[-1], line  # a formula begins there
    assert not fenced
    return "\n".join(out)


@given(st.tuples(*[ANYTHING] * 9))
def test_no_text_becomes_markup(texts: tuple[str, ...]) -> None:
    run, agent, user, reason, model, tool, arguments, call, breaker = texts
    waits = WAITS.model_copy(update={"call_id": call, "tool": tool, "arguments": arguments})
    update = {"run": run, "agent": agent, "user_id": user, "model": model, "breakers": (breaker,)}
    quiet = {"run": "r", "agent": "a", "user_id": "u", "model": "m", "breakers": ("b",)}
    told = plain(details.of_run(RUN.model_copy(update={**update, "pending_approvals": (waits,)})))
    same = plain(details.of_run(RUN.model_copy(update={**quiet, "pending_approvals": (WAITS,)})))
    if model:
        assert told == same
    kill = KILLED.model_copy(update={"subject": user, "reason": reason or "x", "by": agent})
    broken = {breaker: BreakerView(state="open", error=reason or "x")}
    told = plain(details.of_fleet(FleetStatus(kills=(kill,), breakers=broken), run))
    broken = {"b": BreakerView(state="open", error="x")}
    assert told == plain(details.of_fleet(FleetStatus(kills=(KILLED,), breakers=broken), "f"))
    assert plain(details.of_ledger(LEDGER.model_copy(update={"account": user}))) == plain(details.of_ledger(LEDGER))
    task = AgentTask.model_construct(agent=agent, input=reason or "x", user_id=user, metadata={model: call})
    told = plain(details.of_task(task))
    assert told == "agent CODE for CODE · complexity CODE\n\n- metadata CODE: CODE\n"


@given(ANYTHING)
def test_a_span_of_code(text: str) -> None:
    assert re.fullmatch(r"`[^`\n]+`", code(text))
    assert len(code(text * 9)) <= 162
