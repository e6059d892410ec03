"""Encryption alone: what goes in comes out, in its own place and nowhere else, and nothing that is altered opens."""

from __future__ import annotations

import asyncio
import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.converter import ActivitySerializationContext, SerializationContext, WorkflowSerializationContext

from interlock.encryption import Encryption
from interlock.errors import BadKey
from interlock.keys import Keys, new_key
from interlock.tombstones import KeptContext, why_unreadable

KEYS = Keys.parse(f"{new_key()},{new_key()}")
names = st.text(st.characters(codec="utf-8"), max_size=30)


def activity(namespace: str, workflow: str, kind: str, call: str | None) -> ActivitySerializationContext:
    return ActivitySerializationContext(
        namespace=namespace,
        activity_id=call,
        activity_type=kind,
        activity_task_queue=None,
        workflow_id=workflow,
        workflow_type=None,
        is_local=False,
    )


contexts: st.SearchStrategy[SerializationContext] = st.one_of(
    st.builds(WorkflowSerializationContext, namespace=names, workflow_id=names),
    st.builds(activity, names, names, names, st.one_of(st.none(), names)),
    st.builds(KeptContext, names),
)
payloads = st.builds(
    Payload, metadata=st.dictionaries(names, st.binary(max_size=30), max_size=4), data=st.binary(max_size=3000)
)


def decoded(codec: Encryption, payload: Payload) -> Payload:
    [found] = asyncio.run(codec.decode([payload]))
    return found


@given(payload=payloads, context=contexts)
def test_what_goes_in_comes_out(payload: Payload, context: SerializationContext) -> None:
    codec = Encryption(KEYS).with_context(context)
    made = codec.seal(payload)
    assert decoded(codec, made) == payload
    assert decoded(Encryption(KEYS), made) == payload
    assert codec.seal(payload).data != made.data


@given(payload=payloads, context=contexts, other=contexts)
def test_it_opens_in_its_own_place_only(
    payload: Payload, context: SerializationContext, other: SerializationContext
) -> None:
    made = Encryption(KEYS).with_context(context).seal(payload)
    if other != context:
        assert "it was moved" in (why_unreadable(decoded(Encryption(KEYS).with_context(other), made)) or "")


@pytest.mark.parametrize(
    ("reader", "reads"),
    [
        (activity("n", "w", "model", "c1"), True),
        (activity("n", "w", "model", None), True),  # a workflow is not told the ids of its activities
        (activity("n", "w", "model", "c2"), False),
        (activity("n", "w", "tool.x", "c1"), False),
        (activity("n", "v", "model", "c1"), False),
        (activity("m", "w", "model", "c1"), False),
        (WorkflowSerializationContext(namespace="n", workflow_id="w"), False),
        (KeptContext("journal/c1"), False),
    ],
)
def test_a_call_is_bound_where_both_sides_know_it(reader: SerializationContext, reads: bool) -> None:
    made = Encryption(KEYS).with_context(activity("n", "w", "model", "c1")).seal(Payload(data=b"x"))
    assert (decoded(Encryption(KEYS).with_context(reader), made) == Payload(data=b"x")) is reads


@given(data=st.data(), payload=payloads)
def test_no_byte_may_change(data: st.DataObject, payload: Payload) -> None:
    codec = Encryption(KEYS).with_context(WorkflowSerializationContext(namespace="n", workflow_id="w"))
    made = codec.seal(payload)
    part = data.draw(st.sampled_from(["data", "encryption-key-id", "interlock-bound"]))
    whole = made.data if part == "data" else made.metadata[part]
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    if part == "data":
        made.data = changed
    else:
        made.metadata[part] = changed
    assert why_unreadable(decoded(codec, made))


headers = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"binary/encrypted", KEYS.first.encode(), b'{"field":"","namespace":"","workflow":""}']),
)


@given(
    metadata=st.dictionaries(st.sampled_from(["encoding", "encryption-key-id", "interlock-bound", "x"]), headers),
    data=st.binary(max_size=60),
)
@settings(max_examples=300)
def test_no_garbage_raises(metadata: dict[str, bytes], data: bytes) -> None:
    found = decoded(Encryption(KEYS), Payload(metadata=metadata, data=data))
    assert why_unreadable(found) is not None


def test_every_key_decrypts_and_the_first_encrypts() -> None:
    first, second = (Keys({each: key}) for each, key in KEYS.by_id.items())
    assert KEYS.first == first.first
    assert decoded(Encryption(KEYS), Encryption(second).seal(Payload(data=b"old"))) == Payload(data=b"old")
    made = Encryption(KEYS).seal(Payload(data=b"new"))
    assert decoded(Encryption(first), made) == Payload(data=b"new")
    assert second.first not in (why_unreadable(decoded(Encryption(second), made)) or second.first)


def test_a_key_is_never_shown() -> None:
    text = new_key()
    keys = Keys.parse(text)
    assert text not in repr(keys)
    assert repr(base64.b64decode(text)) not in repr(keys)
    with pytest.raises(BadKey) as refused:
        Keys.parse(f"{text},{text[:-8]}")
    assert text[:10] not in str(refused.value)


def test_both_alphabets_of_base64_are_read() -> None:
    key = bytes(range(0xE0, 0x100))
    assert Keys.parse(base64.urlsafe_b64encode(key).decode()) == Keys.parse(base64.b64encode(key).decode())


@pytest.mark.parametrize("forged", ["", ".", "x", "0" * 16 + "." + "0" * 64])
def test_a_seal_is_made_with_a_key_only(forged: str) -> None:
    assert KEYS.is_sealed("what", KEYS.seal("what"))
    assert not KEYS.is_sealed("else", KEYS.seal("what"))
    assert not KEYS.is_sealed("what", forged)
    assert not KEYS.is_sealed("what", f"{KEYS.first}.ключ")
