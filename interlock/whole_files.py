"""Files named by what is in them, in a directory that several workers write: each is there whole, or not at all."""

from __future__ import annotations

import uuid
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write ``path``, unless it is there: then the same is in it. Raises ``OSError``.

    Written aside and renamed: a worker that dies in the middle leaves no half file under the name. Aside is another
    name each time, and not one of this process: in two containers that share the directory both may be number 1."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{uuid.uuid4().hex}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
