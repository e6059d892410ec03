"""Interlock measured against plain Temporal: ``make bench``. One module a question, results in ``results/``."""
