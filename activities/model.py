"""``model``: one call of a model, attempt by attempt, each with a record of whether it was billed."""

from __future__ import annotations

import asyncio
import time
import uuid

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities import on_record
from activities.faults import application_error
from activities.gate import Asker, Gate
from activities.heartbeat import Heartbeating, asked_for
from activities.journal import Journal
from activities.predicates import Predicates
from activities.providers import Answer, Providers, Request
from activities.transcripts import Transcripts
from activities.validation import problems
from interlock import options, ports
from interlock.contracts import Attempt, Message, ModelCall, ModelReply, ToolMessage, Transcript
from interlock.errors import Failure
from interlock.policies import charges, freshness

log = structlog.get_logger("interlock.model")


class ModelActivity(ports.Models):
    def __init__(
        self, providers: Providers, transcripts: Transcripts, journal: Journal, gate: Gate, predicates: Predicates
    ) -> None:
        self._providers = providers
        self._gate = gate
        self._transcripts = transcripts
        self._journal = journal
        self._predicates = predicates

    @activity.defn(name="model")
    async def model(self, call: ModelCall) -> ModelReply:
        attempts, began = on_record.earlier(call.grant.attempts), time.monotonic()
        try:
            transcript = await self._transcripts.before(call)
            paid = await self._journal.get(call.key) if attempts else None
            reply = _with_all(paid, attempts, call) if paid else await self._attempt(call, transcript, attempts)
            async with Heartbeating(lambda: (attempts,)):
                reply = await self._predicates.asked(reply, transcript.spec, seconds=_for_predicates(began))
            after = self._transcripts.after(transcript, call, reply)
        except asyncio.CancelledError:
            if not asked_for():
                activity.heartbeat(on_record.with_this(attempts, "CallBrokenOff"))
                why = "the worker is shutting down" if activity.is_worker_shutdown() else "nobody asked for its end"
                raise ApplicationError(f"broken off: {why}", attempts, type="CallBrokenOff") from None
            # A failure and not a cancellation, of which the SDK drops the details: the run charges what a call
            # that was stopped may have cost.
            raise application_error(Failure("CallStopped", "stopped in flight"), call.retry, attempts) from None
        except Failure as failure:
            activity.heartbeat(on_record.with_this(attempts, failure.kind))  # what the next attempt knows of this one
            raise application_error(failure, call.retry, attempts, failure.told) from failure
        except Exception as error:
            log.exception("model.failed", model=call.model, key=call.key)
            unexpected = Failure("ModelUnavailable", f"{call.model}: {type(error).__name__}: {error}", fate="unknown")
            activity.heartbeat(on_record.with_this(attempts, unexpected.kind))
            raise application_error(unexpected, call.retry, attempts) from None
        return reply.model_copy(update={"transcript": after}) if call.carry else reply

    async def _attempt(self, call: ModelCall, transcript: Transcript, attempts: list[Attempt]) -> ModelReply:
        # Temporal counts attempts too, but from 1 again after `activity reset`: money is not reset by that.
        if charges.may_be_billed(attempts) >= call.grant.attempts:
            raise Failure("BudgetExceeded", f"the {call.grant.attempts} attempts that were granted are used up")
        info = activity.info()
        patience = options.patience(info.start_to_close_timeout or options.HEARTBEAT_TIMEOUT)
        began = time.monotonic()
        announced = await on_record.before_sending(attempts)
        async with (
            Heartbeating(lambda: (max(attempts, announced, key=len),)),
            self._gate.admit(call.model, Asker.of_activity(call.user_id, call.begun), seconds=patience),
        ):
            left = max(0.1, patience - (time.monotonic() - began))
            answer = await self._ask(_request(call, transcript, left), attempts, info.attempt)
        reply = ModelReply(
            reply_id=uuid.uuid4().hex[:16],
            message=answer.message,
            finish=answer.finish,
            model=call.model,
            response_model=answer.response_model,
            problems=problems(answer.message, transcript.spec),
            attempts=tuple(attempts),
            usage=charges.charge(call.price, call.grant, attempts),
            seconds=round(time.monotonic() - began, 3),
        )
        await self._journal.put(call.key, reply)
        return reply

    async def _ask(self, request: Request, attempts: list[Attempt], number: int) -> Answer:
        """Ask once; the attempt is on record with its fate, however it ends."""
        attempt = Attempt(number=number, fate="unknown")
        attempts.append(attempt)
        began = time.monotonic()
        try:
            async with asyncio.timeout(request.timeout):
                answer = await self._providers.of(request.model).ask(request)
        except TimeoutError:
            attempts[-1] = attempt.model_copy(update={"error": "ModelTimeout"})
            said = f"{request.model} did not answer within {time.monotonic() - began:.1f} s"
            raise Failure("ModelTimeout", said, fate="unknown") from None
        except Failure as failure:
            attempts[-1] = attempt.model_copy(update={"fate": failure.fate, "error": failure.kind})
            raise
        attempts[-1] = _billed(attempt, answer)
        return answer


def _for_predicates(began: float) -> float:
    """Seconds that predicates may take of what is left of this attempt: an answer that was paid for is reported, and
    what nobody could ask is for a person to decide."""
    allowed = activity.info().start_to_close_timeout or options.HEARTBEAT_TIMEOUT
    left = allowed.total_seconds() - (time.monotonic() - began)
    return max(0.01, min(options.PREDICATE_PATIENCE.total_seconds(), left - min(0.5, left / 4)))


def _with_all(paid: ModelReply, attempts: list[Attempt], call: ModelCall) -> ModelReply:
    """An answer that was found in the journal, with the attempts that were made since it was given."""
    made = charges.joined(paid.attempts, attempts)
    return paid.model_copy(update={"attempts": tuple(made), "usage": charges.charge(call.price, call.grant, made)})


def _request(call: ModelCall, transcript: Transcript, seconds: float) -> Request:
    return Request(
        model=call.model,
        instructions=transcript.spec.instructions if call.purpose != "classify" else "",
        messages=tuple(_shown(message, call) for message in (*transcript.messages, *call.delta)),
        tools=transcript.spec.tools,
        may_call=call.tools,
        max_tokens=call.grant.max_tokens,
        most_input=call.grant.input_tokens,
        timeout=seconds,
        step=call.step,
    )


def _shown(message: Message, call: ModelCall) -> Message:
    """A message as the model is shown it: a result with its window, by the run's time."""
    if not isinstance(message, ToolMessage) or message.valid_until is None:
        return message
    return message.model_copy(update={"content": freshness.shown(message, call.at)})


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
