"""``model``: one call of a model, attempt by attempt, each with a record of whether it was billed."""

from __future__ import annotations

import asyncio
import time
import uuid
from decimal import Decimal

from temporalio import activity

from activities.faults import application_error
from activities.heartbeat import heartbeating
from activities.providers import Answer, Providers, Request
from activities.transcripts import Transcripts
from activities.validation import problems
from interlock import options, ports
from interlock.contracts import Attempt, ModelCall, ModelReply, Price, Transcript, Usage
from interlock.errors import Failure
from interlock.policies.prices import cost


class ModelActivity(ports.Models):
    def __init__(self, providers: Providers, transcripts: Transcripts) -> None:
        self._providers = providers
        self._transcripts = transcripts

    @activity.defn(name="model")
    async def model(self, call: ModelCall) -> ModelReply:
        attempts = _earlier_attempts()
        try:
            transcript = await self._transcripts.before(call)
            return await self._attempt(call, transcript, attempts)
        except Failure as failure:
            raise application_error(failure, call.retry, list(attempts)) from failure

    async def _attempt(self, call: ModelCall, transcript: Transcript, attempts: list[Attempt]) -> ModelReply:
        info = activity.info()
        allowed = info.start_to_close_timeout or options.HEARTBEAT_TIMEOUT
        attempt = Attempt(number=info.attempt, fate="unknown", worker=info.task_queue)
        attempts.append(attempt)
        began = time.monotonic()
        try:
            # Heartbeats begin before it is sent: an attempt that dies with its worker is on record.
            async with heartbeating(lambda: (attempts,)), asyncio.timeout(options.patience(allowed)):
                answer = await self._providers.of(call.model).ask(_request(call, transcript, options.patience(allowed)))
        except TimeoutError:
            attempts[-1] = attempt.model_copy(update={"error": "ModelTimeout"})
            seconds = time.monotonic() - began
            raise Failure(
                "ModelTimeout", f"{call.model} did not answer within {seconds:.1f} s", fate="unknown"
            ) from None
        except Failure as failure:
            attempts[-1] = attempt.model_copy(update={"fate": failure.fate, "error": failure.kind})
            raise
        attempts[-1] = _billed(attempt, answer)
        reply = ModelReply(
            reply_id=uuid.uuid4().hex[:16],
            message=answer.message,
            finish=answer.finish,
            model=call.model,
            response_model=answer.response_model,
            problems=problems(answer.message, transcript.spec),
            attempts=tuple(attempts),
            usage=usage_of(attempts, call.price),
            seconds=round(time.monotonic() - began, 3),
        )
        after = self._transcripts.after(transcript, call, reply)
        return reply.model_copy(update={"transcript": after}) if call.carry else reply


def _request(call: ModelCall, transcript: Transcript, seconds: float) -> Request:
    return Request(
        model=call.model,
        instructions=transcript.spec.instructions if call.purpose != "classify" else "",
        messages=(*transcript.messages, *call.delta),
        tools=transcript.spec.tools if call.tools else (),
        max_tokens=call.grant.max_tokens,
        timeout=seconds,
        step=call.step,
    )


def _billed(attempt: Attempt, answer: Answer) -> Attempt:
    tokens = answer.tokens
    return attempt.model_copy(
        update={
            "fate": "billed",
            "input_tokens": tokens.input,
            "output_tokens": tokens.output,
            "cached_tokens": tokens.cached,
            "cache_write_tokens": tokens.cache_write,
        }
    )


def usage_of(attempts: list[Attempt], price: Price | None) -> Usage:
    """What a call used, all its attempts together."""
    billed = [attempt for attempt in attempts if attempt.fate == "billed"]
    return Usage(
        calls=1,
        attempts=len(attempts),
        input_tokens=sum(attempt.input_tokens for attempt in billed),
        output_tokens=sum(attempt.output_tokens for attempt in billed),
        cached_tokens=sum(attempt.cached_tokens for attempt in billed),
        usd=sum((cost(price, attempt) for attempt in billed), Decimal(0)) if price else Decimal(0),
    )


def _earlier_attempts() -> list[Attempt]:
    details = activity.info().heartbeat_details
    return [Attempt.model_validate(each) for each in details[0]] if details else []
