"""Run all tests, in lanes side by side: most of them wait more than they compute.

With `unit`, the unit tests alone, with fewer examples, in two. The first lane is shown as it runs, the
others when they have ended. Exit code: 0 when all have passed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parent.parent
#: files of `integration` that another lane runs.
MOVED = {
    lane: tuple(f"integration/test_{name}.py" for name in names)
    for lane, names in {
        "contract": (
            *("topology", "topology_rabbitmq", "topology_rights", "dead_letters", "host", "retries"),
            *("code_cache", "code_limits", "code_worker", "code_worker_process"),
        ),
        "web": (
            *("api_bad_input", "api_bad_requests", "api_contract", "api_flow", "api_streams", "bus_desk"),
            *("web_deployment_page", "web_first_steps", "web_pages", "web_server", "web_oidc"),
        ),
        "compat": ("bad_messages", "core_commands", "core_flow", "core_kill", "core_pair"),
    }.items()
}
#: lanes that take about as long; each run of one, with what is below `tests`, is a process of its own.
#: A browser is driven from an event loop that never ends, beside which no other can be started.
LANES: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("integration",),),
    (("contract", *MOVED["contract"]),),
    (("faults", "unit"),),
    (("browser",), (*MOVED["web"], "test_architecture.py")),
    (("docs", "compat", *MOVED["compat"]),),
)
#: what holds no tests, or figures that must be measured alone.
OTHERS = ("bench", "support", "data")
#: the unit tests in parts that take about as long.
UNIT_PARTS = (("tests/unit/core",), ("tests/unit", "--ignore=tests/unit/core"))
#: fewer examples; no plugin that takes long to load and that no unit test uses; output is captured as Python
#: writes it, for no unit test starts a process that writes.
QUICK = ("--hypothesis-profile=quick", "-p", "no:schemathesis", "-p", "no:anyio", "--capture=sys")


def missing() -> list[str]:
    """Return what stands below `tests` and belongs to no lane, and what a lane names that is not there."""
    known = {name for lane in LANES for run in lane for name in run}
    there = [one for one in (ROOT / "tests").iterdir() if one.is_dir() or one.name.startswith("test_")]
    left = {one.name for one in there if not one.name.startswith("__")} - known - set(OTHERS)
    return sorted(left | {name for name in known if not (ROOT / "tests" / name).exists()})


def main() -> int:
    """Run all lanes, or those of the unit tests; see the module."""
    if left := missing():
        print(f"tests/run.py: in no lane, or not there: {', '.join(left)}", file=sys.stderr)
        return 2
    if sys.argv[1:] == ["unit"]:
        return side_by_side([[_pytest(*QUICK, *part)] for part in UNIT_PARTS])
    return side_by_side([[_command(run) for run in lane] for lane in LANES])


def side_by_side(lanes: Sequence[Sequence[list[str]]]) -> int:
    """Run lanes at the same time, the commands of each one after the other; return 0 when all ended well."""
    with ThreadPoolExecutor(len(lanes)) as pool:
        hidden = [tempfile.TemporaryFile() for _ in lanes[1:]]  # noqa: SIM115  # read at the end
        outputs = [None, *hidden]
        found = [pool.submit(_run, lane, output) for lane, output in zip(lanes, outputs, strict=True)]
        codes = [one.result() for one in found]
    for output in hidden:
        output.seek(0)
        sys.stdout.buffer.write(output.read())
        sys.stdout.flush()
    return int(any(codes))


def _run(commands: Sequence[list[str]], output: IO[bytes] | None) -> int:
    """Run commands one after the other, also when one fails; return 0 when all have ended well."""
    where = {} if output is None else {"stdout": output, "stderr": subprocess.STDOUT}
    codes = [
        subprocess.run(one, cwd=ROOT, stdin=subprocess.DEVNULL, check=False, **where).returncode
        for one in commands
    ]
    return int(any(codes))


def _command(run: tuple[str, ...]) -> list[str]:
    elsewhere = [one for names in MOVED.values() for one in names] if run == ("integration",) else []
    left_out = [f"--ignore=tests/{one}" for one in elsewhere]
    return _pytest("--durations=12", *(f"tests/{one}" for one in run), *left_out)


def _pytest(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]


if __name__ == "__main__":
    sys.exit(main())
