"""Who may import whom, and what the pure rooms may not touch. Fed violations, to see that it bites."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.root import source_root

PURE = (
    "interlock/contracts/",
    "interlock/transcript.py",
    "interlock/spans/",
    "interlock/errors.py",
    "interlock/policies/",
)
IMPURE_MODULES = {
    "aiohttp", "asyncio", "concurrent", "httpx", "logging", "multiprocessing", "os", "pathlib", "random", "requests",
    "secrets", "shutil", "signal", "socket", "sqlite3", "structlog", "subprocess", "sys", "tempfile", "temporalio",
    "threading", "time", "urllib", "uuid",
}  # fmt: skip
CLOCKS = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.monotonic", "time.sleep",
    "uuid.uuid4", "random.random", "os.environ", "os.getenv",
}  # fmt: skip
BUILTINS = {"open", "input", "print", "exec", "eval"}
# room -> what it may import besides the standard library and other packages
MAY_IMPORT = {
    "interlock/policies/": {"interlock.contracts", "interlock.errors", "interlock.policies"},
    "interlock/contracts/": {"interlock.contracts"},
    "interlock/errors.py": set[str](),
    "interlock/transcript.py": {"interlock.contracts"},
    "interlock/spans/": {"interlock.contracts", "interlock.spans"},
    "interlock/ports.py": {"interlock.contracts"},
    "interlock/options.py": {"interlock.contracts", "interlock.errors"},
    "interlock/": {"interlock"},
    "workflows/": {"interlock", "workflows"},
    "activities/": {"interlock", "activities"},
}
OURS = {"interlock", "workflows", "activities", "worker", "tests", "benchmarks", "examples"}


def violations(path: str, source: str) -> list[str]:
    """What ``source``, standing at ``path``, does that its room forbids."""
    tree = ast.parse(source)
    return [*_wrong_imports(path, tree), *_impurities(path, tree), *_shared_state(path, tree)]


def _wrong_imports(path: str, tree: ast.AST) -> Iterator[str]:
    room = max((room for room in MAY_IMPORT if path.startswith(room)), key=len, default=None)
    if room is None:
        return
    for module in _imports(tree):
        inside = any(module == allowed or module.startswith(f"{allowed}.") for allowed in MAY_IMPORT[room])
        if module.split(".")[0] in OURS and not inside:
            yield f"{path} imports {module}"


def _impurities(path: str, tree: ast.AST) -> Iterator[str]:
    pure, workflow_room = path.startswith(PURE), path.startswith("workflows/")
    if pure:
        yield from (f"{path} imports {m}" for m in _imports(tree) if m.split(".")[0] in IMPURE_MODULES)
    if workflow_room:
        banned = IMPURE_MODULES - {"asyncio", "temporalio"}
        yield from (f"{path} imports {m}" for m in _imports(tree) if m.split(".")[0] in banned)
    if pure or workflow_room:
        for node in ast.walk(tree):
            name = _dotted(node)
            if any(name == clock or name.endswith(f".{clock}") for clock in CLOCKS):
                yield f"{path} uses {name}"
            if isinstance(node, ast.Call) and _dotted(node.func) in BUILTINS:
                yield f"{path} calls {_dotted(node.func)}"


def _shared_state(path: str, tree: ast.Module) -> Iterator[str]:
    """Modules that runs share may hold constants only: a mutable global would leak from one run to another."""
    if not path.startswith(("workflows/", "interlock/policies/")):
        return
    for node in tree.body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        mutable = isinstance(value, ast.List | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)
        made = isinstance(value, ast.Call) and _dotted(value.func) in {"dict", "list", "set", "defaultdict", "deque"}
        if mutable or made:
            yield f"{path} holds state that runs would share: line {node.lineno}"
    for anywhere in ast.walk(tree):
        if isinstance(anywhere, ast.Global):
            yield f"{path} changes a global: {', '.join(anywhere.names)}"


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            # `from interlock import x` reaches into interlock.x
            split = node.module in OURS
            yield from (f"{node.module}.{alias.name}" if split else node.module for alias in node.names)


def _dotted(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            return f"{_dotted(value)}.{attr}"
        case _:
            return ""


def sources() -> list[Path]:
    root = source_root()
    return sorted(path for room in ("interlock", "workflows", "activities") for path in (root / room).rglob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(source_root())))
def test_every_file_keeps_the_rules_of_its_room(path: Path) -> None:
    assert violations(str(path.relative_to(source_root())), path.read_text()) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("interlock/policies/bad.py", "import temporalio.workflow"),
        ("interlock/policies/bad.py", "from time import monotonic"),
        ("interlock/policies/bad.py", "from datetime import datetime\nnow = datetime.now()"),
        ("interlock/policies/bad.py", "import datetime as d\ndef f() -> object:\n    return d.datetime.now(d.UTC)"),
        ("interlock/policies/bad.py", "import random"),
        ("interlock/policies/bad.py", "def f() -> object:\n    return open('x')"),
        ("interlock/policies/bad.py", "from interlock.client import connect"),
        ("interlock/policies/bad.py", "seen: list[str] = []"),
        ("interlock/transcript.py", "import os"),
        ("interlock/spans/tree.py", "from datetime import UTC, datetime\nnow = datetime.now(UTC)"),
        ("interlock/contracts/bad.py", "from interlock.agents import Agent"),
        ("interlock/client.py", "from workflows.agent_run import AgentRun"),
        ("interlock/cli.py", "import activities.model"),
        ("workflows/bad.py", "from activities.model import ModelActivity"),
        ("workflows/bad.py", "import activities"),
        ("workflows/bad.py", "import random"),
        ("workflows/bad.py", "from datetime import UTC, datetime\ndef f() -> object:\n    return datetime.now(UTC)"),
        ("workflows/bad.py", "cache = dict()"),
        ("activities/bad.py", "from workflows import agent_run"),
        ("activities/bad.py", "import worker"),
    ],
)
def test_a_violation_is_found(path: str, source: str) -> None:
    assert violations(path, source) != []


def test_the_package_above_the_workflows_is_empty_and_ours_is_lazy() -> None:
    """An eager import above a workflow module would be executed again for every run."""
    assert (source_root() / "workflows/__init__.py").read_text() == ""
    eager = ast.parse((source_root() / "interlock/__init__.py").read_text())
    imported = [node.module for node in eager.body if isinstance(node, ast.ImportFrom)]
    assert set(imported) <= {"__future__", "importlib", "typing"}
