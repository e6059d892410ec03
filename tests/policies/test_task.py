"""What a task may say of whose run it is: it goes into the server's index as it stands."""

from __future__ import annotations

import pytest

from interlock.contracts import AgentTask, parse


@pytest.mark.parametrize("field", ["user_id", "agent"])
@pytest.mark.parametrize("character", ["\x00", "\n", "\x1b", "\x7f", "\x85"])
def test_control_characters_are_refused_in_words(field: str, character: str) -> None:
    task = {"agent": "a", "input": "x", field: f"ada{character}b"}
    with pytest.raises(ValueError, match=f"^{field}: must have no control characters; .* is at 3 \\(got"):
        parse(AgentTask, task)


@pytest.mark.parametrize("user", ["ada", "ada@acme.example", "Ada Lovelace", "阿达", "👩‍🚀", "a\u00a0b", "x" * 200])
def test_people_s_names_are_not(user: str) -> None:
    assert parse(AgentTask, {"agent": "a", "input": "line 1\nline 2", "user_id": user}).user_id == user


def test_half_a_character_is_refused() -> None:
    with pytest.raises(ValueError, match="user_id"):
        parse(AgentTask, {"agent": "a", "input": "x", "user_id": "\ud800"})
