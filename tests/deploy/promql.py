"""Which metrics and labels a PromQL expression names. Not a parser: enough of one for queries people write."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_STRING = re.compile(r'"(?:\\.|[^"\\])*"' + r"|'(?:\\.|[^'\\])*'")
_RANGE = re.compile(r"\[[^\]]*\]")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_NAME = re.compile(r"(?<![\w:.$])([A-Za-z_:][\w:]*)\s*(\{[^}]*\}|\()?")
_MATCHER = re.compile(r"([A-Za-z_]\w*)\s*(?:=~|!~|!=|=)")
_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}


@dataclass(frozen=True)
class Query:
    """``matched``: (metric, label) of each selector; ``grouped``: the labels that are summed or joined by."""

    metrics: frozenset[str]
    matched: frozenset[tuple[str, str]]
    grouped: frozenset[str]


def read(expression: str) -> Query:
    plain = _RANGE.sub("", _STRING.sub('""', expression))
    grouped = {label.strip() for inside in _GROUPING.findall(plain) for label in inside.split(",") if label.strip()}
    selectors = list(_selectors(_GROUPING.sub(" ", plain)))
    return Query(
        metrics=frozenset(metric for metric, _ in selectors),
        matched=frozenset((metric, label) for metric, inside in selectors for label in _MATCHER.findall(inside)),
        grouped=frozenset(grouped),
    )


def _selectors(plain: str) -> Iterator[tuple[str, str]]:
    for name, behind in _NAME.findall(plain):
        if behind != "(" and name.lower() not in _WORDS:
            yield name, behind
