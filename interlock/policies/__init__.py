"""Judgements: (settings, state, now) -> a decision, a value.

A policy takes time and chance as arguments. It never waits, logs, draws a number or reads a clock, so
each is tested by tables in microseconds and replays for ever. ``tests/test_architecture.py`` keeps it so.
"""
