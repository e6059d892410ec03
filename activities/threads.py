"""Plain functions in threads of their own. A thread cannot be stopped; a daemon thread at least does not keep a
worker from ending, where a pool's would be waited for."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[..., T], /, **arguments: Any) -> T:
    """What ``function`` returns or raises. When this is cancelled the thread goes on and its result is dropped."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None only where T is

    def work() -> None:
        result, problem = None, None
        try:
            result = context.run(function, **arguments)
        except BaseException as error:  # noqa: BLE001  # StopIteration and SystemExit too: each belongs to the caller
            # asyncio's futures refuse a StopIteration: whoever waits for one would wait for ever.
            fits = isinstance(error, Exception) and not isinstance(error, StopIteration)
            problem = error if fits else RuntimeError(f"{type(error).__name__}: {error}")
        # A loop that closed while the function was busy has nobody left to tell.
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, problem)

    threading.Thread(target=work, name=getattr(function, "__name__", "tool"), daemon=True).start()
    return await future
