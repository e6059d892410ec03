"""Prints what the image needs of pyproject.toml: ``python requirements.py EXTRA...``, one requirement a line.

The image is built without the checks' and the tests' packages, which constraints.txt pins as well.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(project: Path, extras: list[str]) -> list[str]:
    """The dependencies of ``project``, then those of each extra. Raises ``KeyError`` for one that is not there."""
    declared = tomllib.loads(project.read_text())["project"]
    known: dict[str, list[str]] = declared["optional-dependencies"]
    return [*declared["dependencies"], *(one for extra in extras for one in known[extra])]


if __name__ == "__main__":
    print("\n".join(requirements(Path("pyproject.toml"), sys.argv[1:])))
