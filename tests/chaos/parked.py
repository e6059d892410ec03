"""Agents whose provider fails or never answers: ``python worker.py --agents tests.chaos.parked``."""

from __future__ import annotations

from interlock import Agent, Limits, Retry
from tests.runs.priced import GOOD, PRICES

patient = Agent(
    name="patient",
    instructions="Answer.",
    models=GOOD,
    prices=PRICES,
    # Time enough to wait for the provider. What a killed worker had in its hands is tried again after a step's.
    limits=Limits(seconds=600, step_seconds=10),
    retry=Retry(attempts=8, initial=0.05, maximum=0.5),
    max_output_tokens=100,
)
