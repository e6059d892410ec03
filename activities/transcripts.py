"""The conversations of the runs this worker has lately served.

A ``model`` call says where the conversation stands and what is new. A hit appends what is new; a miss, on
another worker or after a restart, rebuilds it from the run's own history. The cache is an optimisation and
nothing else: with it switched off every model is sent the same bytes.
"""

from __future__ import annotations

import hashlib
import sys
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from temporalio import activity
from temporalio.client import Client

from interlock.contracts import AgentSpec, AssistantMessage, Message, ModelCall, ModelReply, Transcript
from interlock.errors import Failure
from interlock.history import transcript_of
from interlock.tombstones import UnreadablePayload
from interlock.transcript import extend, joins

SPEC_FACTOR = 8
"""Bytes of memory for each of a spec as JSON: 5 to 13 were measured, the most where schemas have many short names."""

OBJECT_BYTES = 1024
"""What a message takes besides its texts, and each part of one."""


@dataclass
class _Shared:
    """A spec, once for all runs that recorded the same: it can be a hundred times as large as what is said."""

    key: bytes
    spec: AgentSpec
    size: int
    runs: int = 0


@dataclass
class _Entry:
    transcript: Transcript
    shared: _Shared
    size: int  # of the messages


class Transcripts:
    """An LRU of transcripts by run, bounded by about the bytes they take. ``max_bytes=0`` switches it off."""

    def __init__(self, client: Client, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._client = client
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._specs: dict[bytes, _Shared] = {}
        self._bytes = 0

    async def before(self, call: ModelCall) -> Transcript:
        """The conversation that ``call`` continues, without its delta."""
        info = activity.info()
        if info.workflow_id is None or info.workflow_run_id is None:
            raise Failure("TranscriptMismatch", "a model call belongs to a run; this one was started outside of any")
        entry = self._entries.get(info.workflow_run_id)
        # The reply's id is compared as well: a reply this worker made but could not report may have been
        # made again elsewhere, and then it is the other one that the run goes on from.
        if entry is not None and _matches(entry.transcript, call):
            self._entries.move_to_end(info.workflow_run_id)
            return entry.transcript
        try:
            transcript = await transcript_of(self._client, info.workflow_id, info.workflow_run_id)
        except UnreadablePayload as error:
            raise Failure("Unreadable", f"the history of the run {error}") from None
        if not _matches(transcript, call):
            raise Failure(
                "TranscriptMismatch",
                f"model call {call.key} follows {call.base} messages and reply {call.after!r}; the history of the "
                f"run holds {len(transcript.messages)} and {transcript.last_reply!r}",
            )
        return transcript

    def after(self, transcript: Transcript, call: ModelCall, reply: ModelReply) -> Transcript:
        """Keep the conversation with ``call`` and ``reply`` in it, and return it."""
        if joins(call, reply):
            messages = extend(transcript.messages, call, reply)
            transcript = transcript.model_copy(update={"messages": messages, "last_reply": reply.reply_id})
        self._keep(activity.info().workflow_run_id or "", transcript)
        return transcript

    def _keep(self, run: str, transcript: Transcript) -> None:
        known = self._entries.get(run)
        if known is not None and known.transcript.spec is transcript.spec:
            new = transcript.messages[len(known.transcript.messages) :]
            shared, size = known.shared, known.size + _size(new)
        else:  # rebuilt: what was known may be another conversation
            shared, size = self._share(transcript.spec), _size(transcript.messages)
        shared.runs += 1  # before the known entry gives it up
        self._drop(run)
        self._entries[run] = _Entry(transcript.model_copy(update={"spec": shared.spec}), shared, size)
        self._bytes += size
        while self._bytes > self._max_bytes and self._entries:
            self._drop(next(iter(self._entries)))

    def _share(self, spec: AgentSpec) -> _Shared:
        text = spec.model_dump_json().encode()
        key = hashlib.sha256(text).digest()
        if (shared := self._specs.get(key)) is None:
            self._specs[key] = shared = _Shared(key, spec, SPEC_FACTOR * len(text))
            self._bytes += shared.size
        return shared

    def _drop(self, run: str) -> None:
        if (entry := self._entries.pop(run, None)) is None:
            return
        self._bytes -= entry.size
        entry.shared.runs -= 1
        if not entry.shared.runs:
            del self._specs[entry.shared.key]
            self._bytes -= entry.shared.size


def _size(messages: Iterable[Message]) -> int:
    return sum(sys.getsizeof(message.model_dump_json()) + OBJECT_BYTES * (1 + _parts(message)) for message in messages)


def _parts(message: Message) -> int:
    return len(message.parts) if isinstance(message, AssistantMessage) else 0


def _matches(transcript: Transcript, call: ModelCall) -> bool:
    return len(transcript.messages) == call.base and transcript.last_reply == call.after
