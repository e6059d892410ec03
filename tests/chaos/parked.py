"""Agents whose provider fails or never answers: ``python worker.py --agents tests.chaos.parked``."""

from __future__ import annotations

from dataclasses import replace

from interlock import Agent, Limits, Retry
from tests.runs.priced import GOOD, PRICES, look

patient = Agent(
    name="patient",
    instructions="Answer.",
    models=GOOD,
    prices=PRICES,
    tools=[look],
    # Time enough to wait for the provider. What a killed worker had in its hands is tried again after a step's.
    limits=Limits(seconds=600, step_seconds=10),
    retry=Retry(attempts=8, initial=0.05, maximum=0.5),
    max_output_tokens=100,
)

# As patient, with nothing to fall back on, calls that may take long, and are tried again for long.
stubborn = replace(
    patient,
    name="stubborn",
    limits=Limits(seconds=3000, step_seconds=3000),
    retry=Retry(attempts=50, initial=0.2, maximum=1.0),
    ladder=("notice",),
)
