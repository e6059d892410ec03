"""The value of a secret is in no span, whatever becomes of the call that has used it."""

from __future__ import annotations

import pytest
from temporalio.client import Client

from interlock import Agent, Retry, Secret, tool
from interlock.testing import ScriptedModel, call, say
from tests.conftest import Serve
from tests.telemetry.watched import lines, seeing, spans

VALUE = "walrus-in-a-wardrobe-77"


@tool(effect="read", retry=Retry(attempts=1))
async def leaks() -> str:
    """Raise what must not be told."""
    raise ValueError(f"refused: {Secret('SPAN_KEY').reveal()}")


async def test_no_span_tells_the_value_of_a_secret(
    serve: Serve, temporal: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPAN_KEY", VALUE)
    model = ScriptedModel("spans", [call("leaks"), say("done")])
    with lines() as out, spans() as found:
        async with (
            seeing(temporal) as (client, _),
            serve(Agent(name="a", instructions="", models=model.model, tools=[leaks]), client=client) as served,
        ):
            await served.run("a")
    told = [span.to_json() for span in found.get_finished_spans()]
    assert any("execute_tool leaks" in each and "[secret SPAN_KEY]" in each for each in told)
    assert not any(VALUE in each for each in told)
    assert VALUE not in str(out)
