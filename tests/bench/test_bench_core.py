"""The core's workloads, as `make bench` runs them; the figures are printed, not judged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def measured(folder: Path, *arguments: str) -> str:
    """Run the program in a process of its own, so that its memory is its own; return what it printed."""
    command = [sys.executable, "-m", "tests.bench.bench_core", "--folder", str(folder), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_core_is_measured_on_the_bus_in_memory(tmp_path: Path) -> None:
    report = measured(tmp_path)
    print(f"\n{report}")
    assert "2000 steps, one deployment" in report


def test_core_is_measured_on_a_broker(tmp_path: Path, any_broker_url: str) -> None:
    report = measured(tmp_path, "--url", any_broker_url)
    print(f"\n{report}")
    assert "40 steps, one deployment" in report
