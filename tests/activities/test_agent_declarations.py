"""What an ``Agent`` may be made of: what a run could not record of it is an error at import, which says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from interlock import Account, Agent, tool


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"limits": {"usd": "0.50"}}, r"limits \{'usd': '0.50'\} is not Limits\(\.\.\.\)"),
        ({"retry": 3}, r"retry 3 is not Retry\(\.\.\.\)"),
        ({"models": ["openai:gpt-5"]}, r'models .* is not one "provider:model", or Models\('),
        ({"prices": [("a:b", 1)]}, r"prices .* is not of the form"),
        ({"prices": {"a:b": 3}}, "prices.a:b: "),
        ({"accounts": ["user:{user_id}"]}, r"accounts has 'user:\{user_id\}', which is not Account\("),
        ({"instructions": None}, "instructions: "),
        ({"plan": "perhaps"}, "plan: "),
        ({"max_output_tokens": 100.5}, "max_output_tokens 100.5 is not a whole number"),
        ({"max_parallel_tools": "8"}, "max_parallel_tools '8' is not a whole number"),
        ({"repeat_limit": None}, "repeat_limit None is not a whole number"),
        ({"cache_max_age": "1 day"}, "cache_max_age '1 day' is not a number of seconds"),
        ({"models": None}, r"models None is not one "),
        ({"tools": None}, "tools None is not a list"),
        ({"ladder": "notice"}, "ladder 'notice' is not a list"),
        (
            {"accounts": [Account("user:{user}", usd="5")]},
            r"account 'user:\{user\}' has \{user\}; known are \{user_id\} and",
        ),
    ],
)
def test_a_field_of_another_kind_is_an_error_at_import(options: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^agent a: {said}"):
        Agent(**{"name": "a", "instructions": "-", "models": "p:m", **options})


def test_what_can_be_read_once_is_kept_whole() -> None:
    @tool(effect="read")
    async def look() -> str:
        """Look."""
        return ""

    names = ["user:{user_id}", "fleet"]
    accounts = [Account(name, usd="1") for name in names]
    reader = Agent(
        name="reader",
        instructions="-",
        models="p:m",
        tools=(each for each in (look,)),  # type: ignore[arg-type]
        accounts=accounts,
    )
    accounts.clear()
    for _ in range(2):
        assert [each.name for each in reader.spec().tools] == ["look"]
        assert [each.name for each in reader.spec().accounts] == names
