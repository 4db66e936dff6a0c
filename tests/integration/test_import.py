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


def test_server_and_core_load_nothing_heavy_that_they_may_never_need() -> None:
    """Each of these costs a process that idles one to three megabytes."""
    unused = ("pika", "sqlalchemy.dialects.postgresql", "yaml", "rich", "urllib.request")
    modules = "reworker.cli.web_side, reworker.web.app, reworker.web.desk, reworker.core.core"
    program = (
        f"import json, sys, reworker.storage.opening, {modules}; "
        f"json.dump([one for one in {unused} if one in sys.modules], sys.stdout)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout) == []
