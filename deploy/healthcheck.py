"""Is the worker of this container at work? Exit code 0 when its metrics say that it polls for tasks.

Not "does the port answer": a worker whose connection was never made answers as well. And not "does the server
answer": a worker outlives a server that is away, and restarting it would only lose what it has in memory.
"""

from __future__ import annotations

import os
import sys
import urllib.request

POLLERS = "temporal_num_pollers{"


def pollers(address: str) -> float:
    """How many pollers the worker at ``address`` has. Raises ``OSError`` when it does not answer."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=4) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition("}")[2].split()[0]) for line in lines if line.startswith(POLLERS))


def main() -> int:
    port = os.environ.get("INTERLOCK_METRICS", "").rpartition(":")[2]
    if not port:
        print("INTERLOCK_METRICS is not set: the worker shows no metrics to judge it by", file=sys.stderr)
        return 1
    try:
        found = pollers(f"127.0.0.1:{port}")
    except OSError as error:
        print(f"no metrics on port {port}: {error}", file=sys.stderr)
        return 1
    print(f"{found:g} pollers")
    return 0 if found > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
