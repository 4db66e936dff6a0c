"""What a worker's module loads before it is used; each of these would take a good part of the time."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ("asyncio", "http.client", "opentelemetry", "pika", "ssl", "starlette", "sqlalchemy", "yaml")


def test_worker_module_loads_nothing_heavy_when_it_is_imported() -> None:
    program = (
        f"import json, sys, reworker.worker; found = [one for one in {HEAVY} if one in sys.modules]; "
        "json.dump([found, reworker.worker.pika.__name__], sys.stdout)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout) == [[], "pika"]
