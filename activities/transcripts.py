"""The conversations of the runs this worker has lately served.

A ``model`` call says where the conversation stands and what is new. A hit appends what is new; a miss, on
another worker or after a restart, rebuilds it from the run's own history. The cache is an optimisation and
nothing else: with it switched off every model is sent the same bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from temporalio import activity
from temporalio.client import Client

from interlock.contracts import ModelCall, ModelReply, Transcript
from interlock.errors import Failure
from interlock.history import transcript_of
from interlock.tombstones import UnreadablePayload
from interlock.transcript import extend, joins


@dataclass
class _Entry:
    transcript: Transcript
    size: int


class Transcripts:
    """An LRU of transcripts by run, bounded by the bytes of their texts. ``max_bytes=0`` switches it off."""

    def __init__(self, client: Client, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._client = client
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0
        self.hits = 0
        self.rebuilds = 0

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
            self.hits += 1
            return entry.transcript
        self.rebuilds += 1
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
        known = self._entries.pop(run, None)
        counted = len(known.transcript.messages) if known else 0
        size = (known.size if known else 4096) + sum(
            len(message.model_dump_json()) for message in transcript.messages[counted:]
        )
        self._bytes += size - (known.size if known else 0)
        self._entries[run] = _Entry(transcript, size)
        while self._bytes > self._max_bytes and self._entries:
            _, dropped = self._entries.popitem(last=False)
            self._bytes -= dropped.size


def _matches(transcript: Transcript, call: ModelCall) -> bool:
    return len(transcript.messages) == call.base and transcript.last_reply == call.after
