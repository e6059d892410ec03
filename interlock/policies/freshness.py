"""How long results are true, and whether a call may rely on them.

    a result's window      from just before its call was made, for ``valid_for`` seconds; the end still counts
    shown to the model     with its window; past it, marked as stale
    used again             for the same arguments, inside its window, never outside

Before a call of a tool that ``requires_fresh`` others, each time it is about to be made:

    what the model has seen of a required tool        what is done
    ----------------------------------------------------------------------------------------------
    a result inside its window                        nothing
    a result past its window, or no longer kept       that call is made again
    a result that since says something else           the call is not made; the model is told both
    nothing, and its arguments are known              it is called, and the model is told the result
    nothing, and its arguments are not known          the call is not made; the model is told to call it
    what has to be called, and a person decides on    the call is not made; the model is told to call it: nobody
    its calls, or it relies on others itself          makes a call past the checks of its own

* What counts is what the model had seen when it asked for the call: a result that came since, side by side with it
  or fetched for another call, is news to it, and it decides anew.
* Which results a call relies on: where both tools take an argument of the same name, those for the same value (a
  purchase of A relies on the price of A, whichever was looked up last); else the latest one.
* The window begins before the call and not after it: how long the answer was on its way nobody knows.
* JSON that is written differently says the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from interlock.contracts import Keeping, Message, Seen, ToolMessage, ToolSpec

STALE = "[STALE: its window is over, it may have changed since; call the tool again before you rely on it]"


@dataclass(frozen=True)
class Go:
    """The call may be made, until then: the window of what it relies on ends; ``None``: it relies on nothing."""

    until: datetime | None = None


@dataclass(frozen=True)
class Fetch:
    """These tools are to be called first, with these arguments."""

    calls: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Tell:
    """The call is not made, and the model is told why. ``changed``: something it relied on says something else."""

    text: str
    changed: bool = False


Step: TypeAlias = Go | Fetch | Tell


# -- windows ------------------------------------------------------------------------------------------------


def window(at: datetime, valid_for: float) -> datetime:
    return at + timedelta(seconds=valid_for)


def is_stale(valid_until: datetime, now: datetime) -> bool:
    return now > valid_until


def shown(message: ToolMessage, at: datetime | None) -> str:
    """A result as the model is shown it at that time. Its own text comes first and its window next, so that what a
    provider has cached of a conversation changes only once: when the result becomes stale."""
    if message.observed_at is None or message.valid_until is None:
        return message.content
    how = "used again, observed" if message.cached else "observed"
    text = f"{message.content}\n[{how} {clock(message.observed_at)}, valid until {clock(message.valid_until)}]"
    return f"{text}\n{STALE}" if at is not None and is_stale(message.valid_until, at) else text


def still_open(windows: Iterable[datetime], told: Iterable[Message], at: datetime | None) -> tuple[datetime, ...]:
    """The ends of the windows that a request at that time did not show as past. ``told``: its new messages."""
    new = (message.valid_until for message in told if isinstance(message, ToolMessage))
    found = (each for each in (*windows, *new) if each is not None)
    return tuple(each for each in found if at is None or not is_stale(each, at))


def clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


# -- what is kept -------------------------------------------------------------------------------------------


def bound(tool: ToolSpec, arguments: str) -> dict[str, Any]:
    """A call's arguments, with the defaults of those that were left out."""
    properties: Mapping[str, Any] = tool.parameters.get("properties", {})
    defaults = {name: said["default"] for name, said in properties.items() if "default" in said}
    return {**defaults, **json.loads(arguments or "{}")}


def canonical(tool: ToolSpec, arguments: str) -> str:
    """A call's arguments in the one form that all ways to write them share."""
    return _dump(bound(tool, arguments))


def digest(content: str) -> str:
    with suppress(ValueError, RecursionError):  # text that is no JSON
        content = _dump(json.loads(content))
    return hashlib.sha256(content.encode(errors="replace")).hexdigest()[:32]


def _dump(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def seen(keeping: Keeping, tool: ToolSpec, arguments: str, content: str, *, at: datetime, until: datetime) -> Seen:
    """What is kept of a result: all of it where it may be used again, and is not too long; else an excerpt."""
    whole = tool.cache and len(content.encode(errors="replace")) <= keeping.result_bytes
    return Seen(
        tool=tool.name,
        arguments=canonical(tool, arguments),
        observed_at=at,
        valid_until=until,
        digest=digest(content),
        said=content if whole else excerpt(content, keeping.excerpt),
        whole=whole,
    )


def kept(keeping: Keeping, results: Sequence[Seen], latest: Seen) -> tuple[Seen, ...]:
    """Results, oldest first, with ``latest`` in the place of the one before it. The oldest make room."""
    found = [each for each in results if (each.tool, each.arguments) != (latest.tool, latest.arguments)] + [latest]
    found = found[-keeping.results :]
    while len(found) > 1 and sum(_bytes(each) for each in found) > keeping.total_bytes:
        found.pop(0)
    return tuple(found)


def _bytes(result: Seen) -> int:
    return len(result.said.encode(errors="replace")) + len(result.arguments.encode(errors="replace"))


def reusable(tool: ToolSpec, arguments: str, results: Iterable[Seen], now: datetime) -> Seen | None:
    """The result that may be used again in place of a call."""
    if not tool.cache:
        return None
    asked = canonical(tool, arguments)
    found = next((each for each in results if (each.tool, each.arguments) == (tool.name, asked)), None)
    return found if found is not None and found.whole and not is_stale(found.valid_until, now) else None


def excerpt(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… [{len(text)} characters in all]"


# -- before a call ------------------------------------------------------------------------------------------


def before(
    tool: ToolSpec,
    arguments: str,
    required: Sequence[ToolSpec],
    *,
    basis: Sequence[Seen],
    results: Sequence[Seen],
    now: datetime,
    tried: bool = False,
) -> Step:
    """What to do before a call that relies on results of ``required`` tools.

    basis    what the model had seen when it asked for the call, oldest first
    results  what is known now
    tried    an attempt of it has failed, and may have taken effect"""
    not_made = f"{tool.name} was not {'tried again' if tried else 'made'}:"
    given, latest = bound(tool, arguments), {(each.tool, each.arguments): each for each in results}
    relied: list[Seen] = []
    fetch: list[tuple[str, str]] = []
    news: list[Seen] = []
    for need in required:
        if found := _about(need, tool, given, basis):
            relied += found
            continue
        if found := [each for each in _about(need, tool, given, results) if not is_stale(each.valid_until, now)]:
            news += found
            continue
        filled = _filled(need, tool, given)
        if filled is None or _guarded(need):
            return Tell(f"{not_made} it relies on {need.name}, which was not called. Call it first.")
        fetch.append((need.name, filled))
    guarded = {need.name for need in required if _guarded(need)}
    for each in relied:
        current = latest.get((each.tool, each.arguments))
        if current is not None and not is_stale(current.valid_until, now):
            continue
        if each.tool in guarded:
            past = f"it relies on {each.tool}({each.arguments}), which is past its window"
            return Tell(f"{not_made} {past}. Call that again first.")
        fetch.append((each.tool, each.arguments))
    if fetch:
        return Fetch(tuple(fetch))
    changed = [(each, latest[each.tool, each.arguments]) for each in relied]
    changed = [(old, new) for old, new in changed if old.digest != new.digest]
    if changed or news:
        text = _news(not_made, changed, news)
        return Tell(text if tried else f"{text}\nNothing was done. Decide again.", changed=bool(changed))
    return Go(min((latest[each.tool, each.arguments].valid_until for each in relied), default=None))


def _guarded(need: ToolSpec) -> bool:
    """Whether a call of it has checks of its own, which only one that the model asks for passes."""
    return need.approval is not None or bool(need.requires_fresh)


def _about(need: ToolSpec, tool: ToolSpec, given: Mapping[str, Any], results: Sequence[Seen]) -> list[Seen]:
    """Those results of ``need`` that a call of ``tool`` with ``given`` arguments relies on."""
    of_it = [each for each in results if each.tool == need.name]
    shared = _shared(need, tool)
    if not shared:
        return of_it[-1:]
    return [each for each in of_it if _same(json.loads(each.arguments), given, shared)]


def _same(one: Mapping[str, Any], other: Mapping[str, Any], names: Iterable[str]) -> bool:
    return all(one.get(name) == other.get(name) for name in names)


def _shared(need: ToolSpec, tool: ToolSpec) -> set[str]:
    return set(need.parameters.get("properties", {})) & set(tool.parameters.get("properties", {}))


def _filled(need: ToolSpec, tool: ToolSpec, given: Mapping[str, Any]) -> str | None:
    """Arguments for a tool that was never called, from the call that requires it; ``None``: they are not known."""
    known = {name: given[name] for name in _shared(need, tool) if name in given}
    if not set(need.parameters.get("required", ())) <= set(known):
        return None
    return canonical(need, _dump(known))


def _news(not_made: str, changed: Sequence[tuple[Seen, Seen]], news: Sequence[Seen]) -> str:
    lines = [
        f"{new.tool}({new.arguments}) said, at {clock(old.observed_at)}: {old.said}\n"
        f"It now says, at {clock(new.observed_at)}, valid until {clock(new.valid_until)}: {new.said}"
        for old, new in changed
    ]
    lines += [
        f"{each.tool}({each.arguments}), which you had not seen, says, at {clock(each.observed_at)}, valid until "
        f"{clock(each.valid_until)}: {each.said}"
        for each in news
    ]
    why = "what it relies on has changed" if changed else "it relies on something that you had not seen"
    return "\n".join([f"{not_made} {why}.", *lines])
