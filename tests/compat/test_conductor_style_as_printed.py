"""The program of Conductor's guide for Python workers, word for word but for the package's name.

The text is not ours and stands in no file here: it is read from the reference folder beside the checkout, and
the test is skipped where there is none.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Process

GUIDES = Path(__file__).parents[3] / "shared" / "spec" / "guides"
PLAYBOOK = """group: samples
name: sample tasks
execution:
- description: both types
  hosts: [localhost]
  steps: ["task_1:Run", "task_2:Run"]
"""


def program_of_the_guide() -> str:
    """Return the blocks of Python of the guide, in order, with our package's name."""
    texts = [path.read_text(encoding="utf-8") for path in GUIDES.glob("002_*.txt")]
    if not texts:
        pytest.skip("the reference folder with the guide is not here")
    blocks = re.findall(r"^```python\n(.*?)^```$", texts[0], re.S | re.M)
    assert len(blocks) == 2
    return "\n\n".join(blocks).replace("swift_conductor", "reworker.conductor")


def reworker(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "reworker", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120).stdout


def test_program_of_the_guide_completes_steps(
    process: Callable[..., Process], any_broker_url: str, tmp_path: Path
) -> None:
    (tmp_path / "main.py").write_text(program_of_the_guide())
    (tmp_path / "play.yaml").write_text(PLAYBOOK)
    program = process("main.py", environment={"REWORKER_MQ": any_broker_url})
    for _ in range(2):
        program.wait_for_line(r"consuming worker\.task_")
    process("-m", "reworker", "core", "--mq", any_broker_url).wait_for_line("core core runs")

    deployment = re.findall(r"^([0-9a-f]{24}) ", reworker(tmp_path, "run", "play.yaml"), re.M)[-1]
    shown: dict[str, Any] = json.loads(reworker(tmp_path, "show", deployment, "-o", "json"))
    assert shown["status"] == "completed"
    assert [one["step"] for one in shown["attempts"]] == ["task_1:Run", "task_2:Run"]
    assert all(one["data"] == {"outputKey1": "value", "oddEven": 1, "mod": 4} for one in shown["attempts"])
    assert [event["event"] for event in shown["events"]].count("ReplyStarted") == 2
    assert program.terminate() == 0
