"""Every real provider, by pydantic-ai's direct interface: one HTTP request a try, no retries of its own.

pydantic-ai is imported here and in the two modules beside this one, and nowhere else: it releases often, and
what is in histories must outlive it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

from pydantic_ai import messages as pm
from pydantic_ai.direct import model_request
from pydantic_ai.models import Model, ModelRequestParameters, infer_model, parse_model_id
from pydantic_ai.providers import infer_provider_class
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from activities.providers import Answer, Request, Tokens
from activities.providers.pydantic_ai_errors import cannot_begin, failure
from activities.providers.pydantic_ai_messages import incoming, outgoing
from interlock.contracts import MOST, AssistantMessage, Finish, Price, ToolSpec

_FINISH: dict[str, Finish] = {
    "stop": "stop",
    "tool_call": "tool_calls",
    "length": "length",
    "content_filter": "content_filter",
}


class PydanticAI:
    """Calls models through pydantic-ai. One client a model, kept until ``close``."""

    def __init__(self) -> None:
        self._models: dict[str, Model] = {}

    def check(self, model: str) -> None:
        provider, _ = parse_model_id(model)
        try:
            infer_provider_class(provider or "")
        except (ValueError, ImportError) as error:
            said = str(error).splitlines()[0]
            raise ValueError(
                f"model {model!r}: {said}. Known are openai:, openai-chat:, anthropic:, scripted: and pydantic-ai's"
            ) from None

    def price(self, model: str) -> Price | None:
        return None

    async def ask(self, request: Request) -> Answer:
        provider = request.model.partition(":")[0]
        model = self._model(request.model)
        sent = outgoing(request.instructions, request.messages, provider)
        try:
            response = await model_request(
                model,
                sent,
                model_settings=_settings(request, provider),
                model_request_parameters=ModelRequestParameters(
                    function_tools=[_tool(tool) for tool in _shown(request, provider)]
                ),
            )
            parts = incoming(response.parts, request.step)
        except Exception as error:  # noqa: BLE001  # raised again, as one of ours
            # Not `from error`: one that quotes megabytes of a reply could not be reported to Temporal.
            raise failure(request.model, error) from None
        return Answer(
            message=AssistantMessage(provider=provider, parts=parts),
            finish=_FINISH.get(response.finish_reason or "", "other"),
            tokens=_tokens(response, request),
            response_model=response.model_name,
        )

    async def close(self) -> None:
        """Close every connection. The next call opens them again."""
        async with AsyncExitStack() as closing:
            for model in self._models.values():
                await closing.enter_async_context(model)
        self._models.clear()

    def _model(self, name: str) -> Model:
        if name not in self._models:
            try:
                self._models[name] = infer_model(name)
            except Exception as error:  # noqa: BLE001  # raised again, as one of ours
                raise cannot_begin(name, error) from None
        return self._models[name]


def _shown(request: Request, provider: str) -> Sequence[ToolSpec]:
    """The tools a request tells of. Anthropic refuses a conversation with tool calls in it and no tools beside
    it, so it is told of them also when none may be called."""
    return request.tools if request.may_call or provider == "anthropic" else ()


def _settings(request: Request, provider: str) -> ModelSettings:
    settings = ModelSettings(max_tokens=request.max_tokens, timeout=request.timeout, max_retries=0)
    if _shown(request, provider) and not request.may_call:
        settings["tool_choice"] = "none"
    return settings


def _tool(tool: ToolSpec) -> ToolDefinition:
    # Not strict: strict mode would rewrite a schema whose optional parameters have defaults.
    return ToolDefinition(
        name=tool.name, description=tool.description, parameters_json_schema=tool.parameters, strict=False
    )


def _tokens(response: pm.ModelResponse, request: Request) -> Tokens:
    """What the provider says it billed. Where it says nothing, the most it can have: all that was granted."""
    usage = response.usage
    if usage.input_tokens <= 0 and usage.output_tokens <= 0:
        return Tokens(input=request.most_input, output=request.max_tokens)
    return Tokens(
        input=_counted(usage.input_tokens),
        output=_counted(usage.output_tokens),
        cached=_counted(usage.cache_read_tokens),
        cache_write=_counted(usage.cache_write_tokens),
    )


def _counted(tokens: int) -> int:
    """A count that the run can reckon with, whatever a provider says."""
    return min(max(tokens, 0), MOST)
