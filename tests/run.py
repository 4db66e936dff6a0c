"""Run all tests, in two processes side by side: most of them wait more than they compute.

The first part is shown as it runs, the other one when it has ended. Exit code: 0 when both have passed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: folders and files below `tests` in two parts that take about as long; `missing` finds what is in none.
PARTS = (
    ("contract", "integration", "docs"),
    ("faults", "unit", "compat", "test_architecture.py"),
)
#: what holds no tests, or figures that must be measured alone.
OTHERS = ("bench", "support", "data")


def missing() -> list[str]:
    """Return what stands below `tests` and belongs to no part."""
    known = {name for part in PARTS for name in part} | set(OTHERS)
    found = [one for one in (ROOT / "tests").iterdir() if one.is_dir() or one.name.startswith("test_")]
    return sorted(one.name for one in found if one.name not in known and not one.name.startswith("__"))


def main() -> int:
    """Run both parts; see the module."""
    if left := missing():
        print(f"tests/run.py: these belong to no part: {', '.join(left)}", file=sys.stderr)
        return 2
    commands = [
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *(f"tests/{one}" for one in part)]
        for part in PARTS
    ]
    with tempfile.TemporaryFile() as output:
        hidden = subprocess.Popen(
            commands[1], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            shown = subprocess.run(commands[0], cwd=ROOT, stdin=subprocess.DEVNULL, check=False)
            code = hidden.wait()
        finally:
            hidden.terminate()
        output.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(output.read())
        sys.stdout.flush()
    return shown.returncode or code


if __name__ == "__main__":
    sys.exit(main())
