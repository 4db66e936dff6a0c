"""Run all tests, in three processes side by side: most of them wait more than they compute.

With `unit`, the unit tests alone, with fewer examples, in two. The first part is shown as it runs, the
others when they have ended. Exit code: 0 when all have passed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parent.parent
#: folders and files below `tests` in parts that take about as long; `missing` finds what is in none.
PARTS = (
    ("integration",),
    ("contract", "docs", "compat"),
    ("faults", "unit", "browser", "test_architecture.py"),
)
#: files of the first part that the second one runs.
MOVED = tuple(
    f"tests/integration/test_{name}.py"
    for name in ("topology", "topology_rabbitmq", "topology_rights", "dead_letters", "host", "retries")
)
#: what holds no tests, or figures that must be measured alone.
OTHERS = ("bench", "support", "data")
#: the unit tests in parts that take about as long.
UNIT_PARTS = (("tests/unit/core",), ("tests/unit", "--ignore=tests/unit/core"))
#: fewer examples, and no plugin that takes half a second to load and that no unit test uses.
QUICK = ("--hypothesis-profile=quick", "-p", "no:schemathesis")


def missing() -> list[str]:
    """Return what stands below `tests` and belongs to no part."""
    known = {name for part in PARTS for name in part} | set(OTHERS)
    found = [one for one in (ROOT / "tests").iterdir() if one.is_dir() or one.name.startswith("test_")]
    return sorted(one.name for one in found if one.name not in known and not one.name.startswith("__"))


def main() -> int:
    """Run all parts, or those of the unit tests; see the module."""
    if left := missing():
        print(f"tests/run.py: these belong to no part: {', '.join(left)}", file=sys.stderr)
        return 2
    if sys.argv[1:] == ["unit"]:
        return side_by_side([_pytest(*QUICK, *part) for part in UNIT_PARTS])
    return side_by_side([_command(part) for part in PARTS])


def side_by_side(commands: list[list[str]]) -> int:
    """Run commands at the same time; return 0 when all have ended well, else 1."""
    shown, *others = commands
    hidden = [_start(one, tempfile.TemporaryFile()) for one in others]  # noqa: SIM115  # read at the end
    try:
        codes = [subprocess.run(shown, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode]
        codes += [process.wait() for process, _ in hidden]
    finally:
        for process, _ in hidden:
            process.terminate()
    for _, output in hidden:
        output.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(output.read())
        sys.stdout.flush()
    return int(any(codes))


def _command(part: tuple[str, ...]) -> list[str]:
    paths = [f"tests/{one}" for one in part]
    if part is PARTS[0]:
        paths += [f"--ignore={one}" for one in MOVED]
    elif part is PARTS[1]:
        paths += MOVED
    return _pytest("--durations=12", *paths)


def _pytest(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]


def _start(command: list[str], output: IO[bytes]) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
    )
    return process, output


if __name__ == "__main__":
    sys.exit(main())
