"""One attempt at a function that its author wrote: where it runs, and what of it must not reach the worker."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextvars import ContextVar
from typing import Any

from activities.threads import in_thread
from interlock.agent_tools import AgentTool, ToolContext
from interlock.beside import Beside

_inside: ContextVar[bool] = ContextVar("inside", default=False)
"""Whether what runs is a tool's, or a task that one has started."""


async def invoke(asked: AgentTool | Beside, arguments: dict[str, Any], context: ToolContext) -> Any:
    """What it returns, whole. Raises what it raises; alone, where that comes as a group of one."""
    token = _inside.set(True)
    try:
        return await _invoke(asked, arguments, context)
    except ExceptionGroup as group:
        alone = _alone(group)
    finally:
        _inside.reset(token)
    raise alone


def _alone(error: Exception) -> Exception:
    """``asyncio.TaskGroup`` raises a group of whatever its tasks raised, also where that is one thing."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def _invoke(asked: AgentTool | Beside, arguments: dict[str, Any], context: ToolContext) -> Any:
    if asked.is_async:
        value = await _awaited(asked.invoke(arguments, context))
    else:
        value = await in_thread(lambda: _read(asked.invoke(arguments, context), context))
        if inspect.isawaitable(value):
            # An async function behind a plain decorator, which nothing tells from a plain one before it is called.
            value = await _awaited(value)
    return await in_thread(lambda: _read(value, context)) if isinstance(value, Iterator) else value


async def _awaited(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as error:
        # The SDK's own, that the activity will be completed later, would leave the call open until its time-out.
        raise _mere(error) from error


def _read(value: Any, context: ToolContext) -> Any:
    """Of a generator, all that it yields: what shows a result would read it on the worker's loop, without an end."""
    if not isinstance(value, Iterator):
        return value
    found = []
    for each in value:
        if context.cancelled.is_set():
            break  # nobody waits for it any more
        found.append(each)
    return found


# -- tasks that a tool starts ----------------------------------------------------------------------------------------


def contain(loop: asyncio.AbstractEventLoop) -> None:
    """Let no task that a tool starts on ``loop`` end the worker: asyncio raises a ``SystemExit`` of any task out of the
    loop, which then serves nothing and ends nothing."""
    if not isinstance(before := loop.get_task_factory(), _Factory):
        loop.set_task_factory(_Factory(before))


class _Factory:
    def __init__(self, before: Callable[..., asyncio.Future[Any]] | None) -> None:
        self._make = before or _task

    def __call__(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Future[Any]:
        return self._make(loop, _Contained(work) if _inside.get() and inspect.iscoroutine(work) else work, **options)


def _task(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Future[Any]:
    return asyncio.Task(work, loop=loop, **options)


class _Contained(Coroutine[Any, Any, Any]):
    """A coroutine whose ``SystemExit`` and ``KeyboardInterrupt`` are errors like others."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._work = work

    def send(self, value: Any) -> Any:
        try:
            return self._work.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise _mere(error) from error

    def throw(self, *thrown: Any) -> Any:
        try:
            return self._work.throw(*thrown)
        except (SystemExit, KeyboardInterrupt) as error:
            raise _mere(error) from error

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Any:
        return self._work.__await__()


def _mere(error: BaseException) -> RuntimeError:
    return RuntimeError(f"{type(error).__name__}: {error}")
