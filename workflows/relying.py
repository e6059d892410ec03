"""What a call relies on: results of other tools, kept while they are true, and fetched again when they are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from temporalio import workflow

from interlock.contracts import CallPart, Seen, ToolMessage, ToolResult, ToolSpec
from interlock.policies import freshness
from interlock.policies.anomaly import too_many_calls
from interlock.policies.freshness import Fetch, Go, Tell
from workflows.run_state import Run

Execute = Callable[[ToolSpec, CallPart], Awaitable[ToolResult]]
"""Calls a tool; one that fails gives a result that says so."""


def remember(run: Run, spec: ToolSpec, arguments: str, result: ToolResult) -> None:
    """Keep a result that may be used again, or that another tool relies on."""
    if (found := _seen(run, spec, arguments, result)) is not None:
        run.seen = freshness.kept(run.spec.keeping, run.seen, found)


def _seen(run: Run, spec: ToolSpec, arguments: str, result: ToolResult) -> Seen | None:
    required = any(spec.name in tool.requires_fresh for tool in run.spec.tools)
    if result.is_error or result.observed_at is None or result.valid_until is None or not (spec.cache or required):
        return None
    return freshness.seen(
        run.spec.keeping, spec, arguments, result.content, at=result.observed_at, until=result.valid_until
    )


def used_again(run: Run, spec: ToolSpec, call: CallPart) -> ToolMessage | None:
    """An earlier result in place of a call that would only ask the same again. It counts as a call all the same."""
    found = freshness.reusable(spec, call.arguments, run.seen, workflow.now())
    if found is None:
        return None
    run.refused_calls += 1
    return ToolMessage(
        call_id=call.call_id,
        tool=call.tool,
        content=found.said,
        observed_at=found.observed_at,
        valid_until=found.valid_until,
        cached=True,
    )


@asynccontextmanager
async def alone(run: Run, spec: ToolSpec, call: CallPart) -> AsyncIterator[None]:
    """Of calls that may use each other's result only one is made at a time: the others of its reply wait for it."""
    if not spec.cache:
        yield
        return
    what = (spec.name, freshness.canonical(spec, call.arguments))
    while what in run.finding_out:  # all that wait go on at once: only the first of them finds it free
        await workflow.wait_condition(lambda: what not in run.finding_out)
    run.finding_out.add(what)
    try:
        yield
    finally:
        run.finding_out.discard(what)


async def ready(
    run: Run, spec: ToolSpec, call: CallPart, basis: Sequence[Seen], execute: Execute, *, asked: int, tried: bool
) -> Go | str:
    """Whether a call may be made now, after what it relies on was fetched again where it had to be; else why not.

    basis  what the model had seen when it asked for the call
    asked  how often this was asked of the call before
    tried  an attempt of it has failed, and may have taken effect"""
    required = [tool for name in spec.requires_fresh if (tool := run.spec.tool(name)) is not None]
    fetched: list[Seen] = []
    first = asked * run.spec.keeping.rounds
    for number in range(run.spec.keeping.rounds):
        results = (*run.seen, *fetched)
        now = workflow.now()
        match freshness.before(spec, call.arguments, required, basis=basis, results=results, now=now, tried=tried):
            case Go() as go:
                _keep(run, fetched)
                return go
            case Tell(text=text):
                # Only where the model is told of them: what it was never told must not pass for what it knows, and of
                # a call that was tried it may be told something else.
                _keep(run, () if tried else fetched)
                return f"ToolInputStale: {text}"
            case Fetch(calls=calls):
                if (why := too_many_calls(run.limits, run.tool_calls + run.refused_calls, len(calls) + 1)) is not None:
                    return f"{_not_made(spec)} there may be no {why}."
                found = await asyncio.gather(
                    *(
                        _fetch(
                            run,
                            spec,
                            tool,
                            CallPart(call_id=_id(call, first + number, n), tool=tool, arguments=what),
                            execute,
                        )
                        for n, (tool, what) in enumerate(calls, start=1)
                    )
                )
                if failed := [each for each in found if isinstance(each, str)]:
                    return failed[0]
                fetched += [each for each in found if isinstance(each, Seen)]
    return f"{_not_made(spec)} what it relies on was past its window each time it had been fetched."


def _keep(run: Run, fetched: Sequence[Seen]) -> None:
    for each in fetched:
        run.seen = freshness.kept(run.spec.keeping, run.seen, each)


async def _fetch(run: Run, spec: ToolSpec, tool: str, call: CallPart, execute: Execute) -> Seen | str:
    need = run.spec.tool(tool)
    if need is None:
        return f"{_not_made(spec)} there is no tool named {tool!r}."
    run.tool_calls += 1
    run.by_tool[tool] = run.by_tool.get(tool, 0) + 1
    result = await execute(need, call)
    if (found := _seen(run, need, call.arguments, result)) is not None:
        return found
    return f"{_not_made(spec)} {tool}, which it relies on, was called again and gave no result: {result.content}"


def _id(call: CallPart, number: int, n: int) -> str:
    """A name for a call that the model did not ask for: ``s3c1-check1.2``."""
    return f"{call.call_id}-check{number + 1}.{n}"


def _not_made(spec: ToolSpec) -> str:
    return f"ToolInputStale: {spec.name} was not made:"
