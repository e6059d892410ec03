"""What ``interlock doctor`` looks at. A check never raises: it says what it found and what to do."""

from __future__ import annotations

import asyncio
import os
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias, get_args

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, GetSystemInfoRequest
from temporalio.client import Client
from temporalio.service import RPCError

from interlock.client_fleet import Fleet
from interlock.connection import PATIENCE, connect, task_queue
from interlock.errors import InterlockError
from interlock.fleet import fleet_id
from interlock.pollers import Work, pollers
from interlock.present import age, one_line, several, ui_url
from interlock.search_attributes import SEARCH_ATTRIBUTES

Mark: TypeAlias = Literal["ok", "failed", "note", "skipped"]

KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY")


@dataclass(frozen=True)
class Check:
    """One line. ``remedy``: what to do about it."""

    name: str
    state: Mark
    found: str
    remedy: str = ""


async def examine(queue: str | None) -> list[Check]:
    """All checks, in the order in which things depend on each other."""
    queue = queue or task_queue()
    here = [keys(), await web_ui()]
    asked: dict[str, Callable[[Client], Awaitable[Check]]] = {
        "search attributes": search_attributes,
        "workflow workers": lambda client: workers(client, queue, "workflow"),
        "activity workers": lambda client: workers(client, queue, "activity"),
        "fleet switch": fleet_switch,
    }
    try:
        client = await connect()
        version = (
            await client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=PATIENCE)
        ).server_version
    except (InterlockError, RPCError) as error:
        return [Check("server", "failed", str(error)), *_skipped(["namespace", *asked], "a server"), *here]
    server = Check("server", "ok", f"Temporal {version} at {client.service_client.config.target_host}")
    place = await namespace(client)
    if place.state == "failed":
        return [server, place, *_skipped(asked, "a namespace"), *here]
    found = await asyncio.gather(*(_answer(name, check(client)) for name, check in asked.items()))
    return [server, place, *found, *here]


def _skipped(names: Iterable[str], lacking: str) -> list[Check]:
    return [Check(name, "skipped", f"needs {lacking}") for name in names]


async def _answer(name: str, check: Awaitable[Check]) -> Check:
    try:
        return await check
    except RPCError as error:
        return Check(name, "failed", error.message, "ask whoever runs the server")
    except InterlockError as error:
        return Check(name, "failed", str(error))


async def namespace(client: Client) -> Check:
    try:
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace), timeout=PATIENCE
        )
    except RPCError as error:
        remedy = f"temporal operator namespace create {client.namespace}, or set TEMPORAL_NAMESPACE"
        return Check("namespace", "failed", error.message.rstrip("."), remedy)
    return Check("namespace", "ok", client.namespace)


async def search_attributes(client: Client) -> Check:
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace), timeout=PATIENCE
    )
    known = {name: _kind(value) for name, value in listed.custom_attributes.items()}
    missing = [name for name in SEARCH_ATTRIBUTES if name not in known]
    wrong = [
        f"{name} is {known[name]} and must be {kind}"
        for name, kind in SEARCH_ATTRIBUTES.items()
        if name in known and known[name] != kind
    ]
    if wrong:
        return Check(
            "search attributes", "failed", ", ".join(wrong), "remove them; a worker registers them as it starts"
        )
    if missing:
        return Check(
            "search attributes", "failed", f"missing: {', '.join(missing)}", "start a worker: it registers them"
        )
    return Check("search attributes", "ok", f"all {len(SEARCH_ATTRIBUTES)} registered")


def _kind(value: IndexedValueType.ValueType) -> str:
    return IndexedValueType.Name(value).removeprefix("INDEXED_VALUE_TYPE_").capitalize()


async def workers(client: Client, queue: str, work: Work) -> Check:
    name, found = f"{work} workers", await pollers(client, queue, work)
    if not found:
        return Check(
            name, "failed", f"none polls task queue {queue!r}", f"start one: python worker.py --task-queue {queue}"
        )
    latest = age(datetime.now(UTC) - found[0].seen)
    return Check(name, "ok", f"{several(len(found), 'poller')} on task queue {queue!r}, last seen {latest} ago")


async def fleet_switch(client: Client) -> Check:
    """Whether there is a switch, whether somebody serves it, and whether it is off."""
    name, fleet = "fleet switch", Fleet(client, fleet_id())
    kills = (await fleet.view()).kills
    for work in get_args(Work):
        if not await pollers(client, fleet.id, work):
            found = f"no worker serves {fleet.id}: nothing can be killed, and no breaker opens"
            return Check(name, "failed", found, "start one: python worker.py, with the same INTERLOCK_FLEET")
    if (failed := await fleet.failing()) > 2:
        found = f"the task of {fleet.id} has failed {failed} times: kills are not carried out, and no breaker changes"
        return Check(name, "failed", found, "its workers' logs say why; were keys changed? see docs/security.md")
    if (everything := kills.get("all")) is not None:
        found = one_line(f"everything is killed: {everything.reason or 'no reason given'} (by {everything.by})")
        return Check(name, "failed", found, "new runs are let in by: interlock release --all")
    if users := sum(each.scope == "user" for each in kills.values()):
        return Check(name, "note", f"{fleet.id} is served; {several(users, 'user')} killed", "see: interlock kills")
    return Check(name, "ok", f"{fleet.id} is served")


def keys() -> Check:
    """Which keys are set, never what they are. This environment's, that is: a worker has its own."""
    known = [name for name in KEYS if os.environ.get(name)]
    if base := os.environ.get("OPENAI_BASE_URL"):
        known.append(f"OPENAI_BASE_URL={base.rpartition('@')[2]}")
    if known:
        return Check("model keys", "ok", f"{', '.join(known)} in this environment")
    return Check("model keys", "note", "none in this environment", f"workers need {' or '.join(KEYS)} for real models")


async def web_ui() -> Check:
    url = ui_url()
    remedy = "links will not open; set INTERLOCK_UI_URL"
    try:
        await asyncio.to_thread(_fetch, url)
    except urllib.error.HTTPError as error:
        return Check("web ui", "ok", f"{url} (answers {error.code})")
    except (OSError, ValueError) as error:
        return Check("web ui", "note", f"{url} does not answer ({getattr(error, 'reason', error)})", remedy)
    return Check("web ui", "ok", url)


def _fetch(url: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise ValueError("not a web address")
    with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  # checked above
        answer.read(1)
