"""Registers what runs need in a namespace: the search attributes. Safe to repeat, and for many workers at once."""

from __future__ import annotations

import asyncio

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from interlock.errors import InterlockError
from interlock.search_attributes import SEARCH_ATTRIBUTES

_TYPES = {
    "Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "Double": IndexedValueType.INDEXED_VALUE_TYPE_DOUBLE,
    "Int": IndexedValueType.INDEXED_VALUE_TYPE_INT,
}


async def register_search_attributes(client: Client) -> list[str]:
    """Add the missing ones; returns their names. Raises ``InterlockError`` with the command that an operator runs
    when this client may not, or when one exists with another type."""
    missing = await _missing(client)
    if not missing:
        return []
    adding = {name: _TYPES[SEARCH_ATTRIBUTES[name]] for name in missing}
    try:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=adding)
        )
    except RPCError as error:
        if error.status != RPCStatusCode.ALREADY_EXISTS:
            raise InterlockError(_by_hand(client, missing, error.message)) from error
    # A server that has just been told still refuses them for a moment, and a run that sets one then is stuck.
    for _ in range(50):
        if not await _missing(client):
            return missing
        await asyncio.sleep(0.1)
    raise InterlockError(_by_hand(client, await _missing(client), "they did not appear"))


async def _missing(client: Client) -> list[str]:
    try:
        listed = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError as error:
        raise InterlockError(_by_hand(client, list(SEARCH_ATTRIBUTES), error.message)) from error
    known = {**listed.custom_attributes, **listed.system_attributes}
    for name, kind in SEARCH_ATTRIBUTES.items():
        if name in known and known[name] != _TYPES[kind]:
            raise InterlockError(
                f"search attribute {name} exists in namespace {client.namespace} with another type; it must be {kind}"
            )
    return [name for name in SEARCH_ATTRIBUTES if name not in known]


def _by_hand(client: Client, names: list[str], why: str) -> str:
    flags = " ".join(f"--name {name} --type {SEARCH_ATTRIBUTES[name]}" for name in names)
    return (
        f"search attributes are missing in namespace {client.namespace} and could not be added ({why}). "
        f"An operator adds them with: temporal operator search-attribute create --namespace {client.namespace} {flags}"
    )
