"""``python -m reworker.iron SCRIPT [ARGUMENTS]`` runs a script for which `iron_worker` is this client."""

from __future__ import annotations

import runpy
import sys
import traceback
from pathlib import Path

from reworker.errors import ReworkerError
from reworker.iron import IronWorker, shim


def main() -> None:
    """Run the script, as ``python SCRIPT`` would; it has the name IronWorker also without importing it."""
    del sys.argv[0]
    if not sys.argv:
        sys.exit("say which script to run: python -m reworker.iron SCRIPT [ARGUMENTS]")
    script = sys.argv[0]
    if not Path(script).is_file():
        sys.exit(f"there is no script {script!r}")
    sys.path[0] = str(Path(script).resolve().parent)
    shim.install()
    try:
        runpy.run_path(script, {"IronWorker": IronWorker}, "__main__")
    except ReworkerError as error:
        sys.exit(f"{script}:{_line_of(error, script)}: {error}")


def _line_of(error: BaseException, script: str) -> int:
    """Return the line of a script that an error came from."""
    lines = [
        line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == script
    ]
    return lines[-1] if lines else 0


if __name__ == "__main__":
    main()
