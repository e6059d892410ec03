"""The flags of ``worker.py`` for limits, and their variables: read, or refused in one line that names them."""

from __future__ import annotations

import pytest

from interlock.queues import Limits
from interlock.worker_flags import parse


def test_flags_outrank_variables_and_what_nobody_says_is_not_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse([]).limits == Limits()
    monkeypatch.setenv("INTERLOCK_MAX_RUNS", "50")
    monkeypatch.setenv("INTERLOCK_MAX_MODEL_CALLS", "7")
    monkeypatch.setenv("INTERLOCK_MAX_TOOL_CALLS", "")
    monkeypatch.setenv("INTERLOCK_MAX_CALLS_PER_SECOND", "2.5")
    found = parse(["--max-model-calls", "3"]).limits
    assert found == Limits(runs=50, model_calls=3, calls_per_second=2.5)


WRONG = {
    "max-runs": ["0", "1", "-2", "many", "2.0", "1e3", "٣"],
    "max-model-calls": ["0", "-1", "x", "1.5", "9999999"],
    "max-tool-calls": ["0", "", "1,000"],
    "max-calls-per-second": ["0", "-1", "nan", "inf", "fast"],
}


@pytest.mark.parametrize(("flag", "value"), [(flag, value) for flag, values in WRONG.items() for value in values])
def test_a_limit_that_is_none_is_refused(flag: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        parse([f"--{flag}={value}"])
    assert refused.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"--{flag}: {value!r} is not" in last


def test_a_variable_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("INTERLOCK_MAX_TOOL_CALLS", "lots")
    with pytest.raises(SystemExit):
        parse([])
    assert "INTERLOCK_MAX_TOOL_CALLS: 'lots' is not a whole number from 1 to 999999" in capsys.readouterr().err
