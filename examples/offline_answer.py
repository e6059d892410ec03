"""The offline model's answer: what the tools showed, in a page, each claim with its line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from examples.evidence import Evidence, Line, in_order
from examples.tools.logs import shown

HEADING = (
    "This is Interlock's offline scripted model, not an LLM: the rules below found this in the files. "
    "Set ANTHROPIC_API_KEY or OPENAI_API_KEY for a model that thinks."
)
_CHANGE = re.compile(
    r"(?i)\b(start(ed|ing)?|stopp?(ed|ing)?|restart\w*|exit(ed|ing)?|deploy\w*|rollback|version|sigterm|sigkill|"
    r"reload\w*|loaded|opened|migrat\w*|renamed|upgrad\w*|shut\w*|crash\w*|default)\b"
)


def answer(seen: Evidence, cause: Line | None) -> str:
    errors = [line for line in seen.problems if line.severity == "error"]
    parts = [HEADING]
    if not seen.files:
        parts.append(_no_files(seen))
    elif cause is None:
        parts.append(f"No line of {_listed(seen.files)} looks like an error or a warning.")
        if seen.mentioned:
            first = min(seen.mentioned, key=in_order)
            parts.append(f"The question's words are first found here:\n{_quote(first)}")
    else:
        parts += [_cause(seen, cause, errors), *_trouble(seen, errors), *_after(seen, errors)]
    parts.append(_looked_at(seen))
    return "\n\n".join(part for part in parts if part)


def _no_files(seen: Evidence) -> str:
    if seen.complaints:
        return f"I could not look at any file: {seen.complaints[0]}"
    if seen.unreadable:
        return f"None of the files is text that I can read: {_listed(seen.unreadable)}."
    return "There are no files to look at: the directory is empty."


def _cause(seen: Evidence, cause: Line, errors: Sequence[Line]) -> str:
    often = sum(line.kind == cause.kind for line in seen.problems)
    told = f"Likely first cause, at {cause.place}" + (" (said once)" if often == 1 else f" (said {often} times)")
    if errors and cause in errors:
        told += ", the first error there is"
    elif errors and cause.when and errors[0].when:
        told += f", {_span(errors[0].when - cause.when)} before the first error"
    near = [line for line in seen.read if line.path == cause.path and abs(line.number - cause.number) <= 6]
    told_by = {line.number: line for line in near if _CHANGE.search(line.text)} | {cause.number: cause}
    quoted = (_quote(line, mark=line == cause) for _, line in sorted(told_by.items()))
    return "\n".join([f"{told}:", *quoted])


def _trouble(seen: Evidence, errors: Sequence[Line]) -> list[str]:
    if not errors:
        return ["There are warnings and no errors."]
    per_file = Counter(line.path for line in errors)
    times = [line.when for line in errors if line.when]
    counted = f"{'At least ' if seen.cut else ''}{len(errors)} error line{'s' * (len(errors) != 1)}"
    span = f", from {min(times)} to {max(times)}" if times else ""
    [(kind, count)] = Counter(line.kind for line in errors).most_common(1)
    example = next(line for line in errors if line.kind == kind)
    parts = [f"{counted} in {', '.join(f'{shown(path)} ({number})' for path, number in per_file.most_common())}{span}."]
    if example == errors[0]:
        most = f", and the most frequent ({count} times)" if count > 1 else ""
        parts.append(f"The first error{most}:\n{_quote(example)}")
    else:
        parts.append(f"The first error:\n{_quote(errors[0])}")
        parts.append(f"The most frequent, {count} times; the first of them:\n{_quote(example)}")
    if others := [path for path in per_file if path not in (errors[0].path, example.path)]:
        first = next(line for line in errors if line.path == others[0])
        parts.append(f"Seen from {shown(others[0])}:\n{_quote(first)}")
    return parts


def _after(seen: Evidence, errors: Sequence[Line]) -> list[str]:
    """What changed after the last error of the file that has most, where that was read."""
    if not errors:
        return []
    main = Counter(line.path for line in errors).most_common(1)[0][0]
    last = max(line.number for line in errors if line.path == main)
    changes = [line for line in seen.read if line.path == main and line.number > last and _CHANGE.search(line.text)]
    told_by = {line.number: line for line in changes}
    quoted = [_quote(line) for _, line in sorted(told_by.items())[:5]]
    return ["\n".join([f"After its last error, {shown(main)} says:", *quoted])] if quoted else []


def _looked_at(seen: Evidence) -> str:
    parts = [f"Looked at: {_listed(seen.files)}."] if seen.files else []
    if seen.files and seen.unreadable:
        parts.append(f"Not text, so not looked at: {_listed(seen.unreadable)}.")
    for pattern, said in list(seen.mentions.items())[:3]:
        words = pattern.removeprefix("(?i)").replace("\\", "").replace("|", ", ")
        parts.append(f"The question's words ({words}): {said}.")
    if seen.complaints:
        parts.append(f"{len(seen.complaints)} calls went wrong, the first: {seen.complaints[0]}")
    return " ".join(parts)


def _quote(line: Line, *, mark: bool = False) -> str:
    text = line.text if len(line.text) <= 180 else f"{line.text[:179]}…"
    return f"  {'>' if mark else ' '} {line.place}: {text}"


def _listed(names: Sequence[str]) -> str:
    first = ", ".join(map(shown, names[:8]))
    return first if len(names) <= 8 else f"{first} and {len(names) - 8} more"


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    return f"{seconds // 60} min {seconds % 60} s" if seconds >= 60 else f"{seconds} s"
