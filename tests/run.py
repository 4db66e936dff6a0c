"""Run all tests, in lanes side by side: most of them wait more than they compute.

With `unit`, the unit tests alone, with fewer examples, in two. The first lane is shown as it runs, the
others when they have ended. Exit code: 0 when all have passed.

A few tests that failed are run once more at the end, alone: one that passes then had too little time beside
the others. It is named as unsteady and is to be mended, but does not fail the run. A test below `faults` has
no second chance, for one loss in a hundred runs is a loss; nor have unit tests, which wait for nothing.
"""

from __future__ import annotations

import json
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
            *("web_deployment_page", "web_first_steps", "web_pages", "web_server", "web_oidc", "cli_waiting"),
        ),
        "compat": ("bad_messages", "core_commands", "core_flow", "core_kill", "core_pair"),
    }.items()
}
#: lanes that take about as long; each run of one, with what is below `tests`, is a process of its own.
#: A browser is driven from an event loop that never ends, beside which no other can be started.
LANES: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("integration",),),
    (("contract", *MOVED["contract"]),),
    (("faults", "component", "unit"),),
    (("browser",), (*MOVED["web"], "test_architecture.py")),
    (("docs", "compat", *MOVED["compat"]),),
)
#: what holds no tests, or figures that must be measured alone.
OTHERS = ("bench", "support", "data")
#: the unit tests in parts that take about as long.
_FIRST = ("tests/unit/fsm", "tests/unit/worker", "tests/unit/cli")
UNIT_PARTS = (_FIRST, ("tests/unit", *(f"--ignore={one}" for one in _FIRST)))
#: fewer examples; no plugin that takes long to load and that no unit test uses; output is captured as Python
#: writes it, for no unit test starts a process that writes.
QUICK = ("--hypothesis-profile=quick", "-p", "no:schemathesis", "-p", "no:anyio", "--capture=sys")
#: more failures than these are no chance.
UNSTEADY_COUNT = 4
#: what fails here has failed.
STRICT = ("tests/faults/", "tests/component/", "tests/unit/", "tests/test_")
#: pytest's exit code when tests have failed, and nothing worse has happened.
TESTS_FAILED = 1


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
        return int(
            any(side_by_side([[_pytest("-p", "no:cacheprovider", *QUICK, *part)] for part in UNIT_PARTS]))
        )
    with tempfile.TemporaryDirectory() as notes:
        runs = [[_command(run, Path(notes, run[0])) for run in lane] for lane in LANES]
        codes = side_by_side(runs)
        return int(max(codes) > TESTS_FAILED or (any(codes) and not is_unsteadiness(Path(notes))))


def is_unsteadiness(notes: Path) -> bool:
    """Run once more, alone, the tests that pytest has noted as failed; tell whether they pass now."""
    found = [json.loads(one.read_text()) for one in notes.glob("*/v/cache/lastfailed")]
    failed = sorted(test for tests in found for test in tests)
    if not failed or len(failed) > UNSTEADY_COUNT or any(one.startswith(STRICT) for one in failed):
        return False
    print(f"\n{len(failed)} failed beside others; once more, alone: {', '.join(failed)}", flush=True)
    if subprocess.run(
        _pytest("-p", "no:cacheprovider", *failed), cwd=ROOT, stdin=subprocess.DEVNULL, check=False
    ).returncode:
        return False
    print("\n".join(f"UNSTEADY {one}: failed above, passed alone; mend it" for one in failed), flush=True)
    return True


def side_by_side(lanes: Sequence[Sequence[list[str]]]) -> list[int]:
    """Run lanes at the same time, the commands of each one after the other; return the worst code of each."""
    with ThreadPoolExecutor(len(lanes)) as pool:
        hidden = [tempfile.TemporaryFile() for _ in lanes[1:]]  # noqa: SIM115  # read at the end
        outputs = [None, *hidden]
        found = [pool.submit(_run, lane, output) for lane, output in zip(lanes, outputs, strict=True)]
        codes = [one.result() for one in found]
    for output in hidden:
        output.seek(0)
        sys.stdout.buffer.write(output.read())
        sys.stdout.flush()
    return codes


def _run(commands: Sequence[list[str]], output: IO[bytes] | None) -> int:
    """Run commands one after the other, also when one fails; return the worst code."""
    where = {} if output is None else {"stdout": output, "stderr": subprocess.STDOUT}
    codes = [
        subprocess.run(one, cwd=ROOT, stdin=subprocess.DEVNULL, check=False, **where).returncode
        for one in commands
    ]
    return max(abs(one) for one in codes)  # a process that a signal ended has a negative one


def _command(run: tuple[str, ...], notes: Path) -> list[str]:
    elsewhere = [one for names in MOVED.values() for one in names] if run == ("integration",) else []
    left_out = [f"--ignore=tests/{one}" for one in elsewhere]
    return _pytest(
        f"--override-ini=cache_dir={notes}", "--durations=12", *(f"tests/{one}" for one in run), *left_out
    )


def _pytest(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", *arguments]


if __name__ == "__main__":
    sys.exit(main())
