"""The tutorial's megafrobber, word for word as it was printed in 2014, run from its own directory.

The text is not ours and stands in no file here: it is read from the reference folder beside the checkout,
and the test is skipped where there is none.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

GUIDES = Path(__file__).parents[3] / "shared" / "spec" / "guides"
PLAYBOOK = """group: frobbers
name: frob it
execution:
- description: frob
  hosts: [localhost]
  steps: ["megafrobber:{subcommand}"]
"""


def guide() -> str:
    """Return the tutorial's text."""
    texts = [path.read_text(encoding="utf-8") for path in GUIDES.glob("003_*.txt")]
    if not texts:
        pytest.skip("the reference folder with the tutorial is not here")
    return texts[0]


def printed_blocks(text: str) -> list[str]:
    """Return the Python blocks of the tutorial, dedented."""
    found = re.findall(r"\.\. code-block:: python\n   :linenos:\n\n((?:   .*\n|\n)+)", text)
    return [textwrap.dedent(block).strip("\n") for block in found]


def assembled(text: str) -> str:
    """Put the blocks together as the tutorial tells its reader to."""
    imports, class_, process, main, parsing, frob, job = printed_blocks(text)
    head = class_[: class_.index("    def process(")]
    body = "\n".join(textwrap.indent(block, "   ") for block in (parsing, job))
    methods = textwrap.indent(f"{process}\n\n{body}\n\n{frob}", "    ")
    return f"{imports}\nimport random\n\n\n{head}{methods}\n\n\n{main}\n"


@pytest.fixture
def tutorial(tmp_path: Path) -> Path:
    """Lay out the directory of the tutorial, with its worker."""
    plugin = tmp_path / "re-worker-megafrobber"
    package = plugin / "replugin" / "megafrobberworker"
    package.mkdir(parents=True)
    (plugin / "replugin" / "__init__.py").touch()
    (package / "__init__.py").write_text(assembled(guide()))
    return plugin


def shown(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run a playbook to its end and return what `reworker show` says of it."""
    run = [sys.executable, "-m", "reworker"]
    started = subprocess.run(
        [*run, "run", *arguments], cwd=folder, capture_output=True, text=True, timeout=120
    )
    deployment = re.findall(r"^([0-9a-f]{24}) ", started.stdout, re.M)[-1]
    text = subprocess.run(
        [*run, "show", deployment, "-o", "json"], cwd=folder, capture_output=True, text=True, timeout=120
    )
    answer: dict[str, Any] = json.loads(text.stdout)
    return answer


def test_tutorial_worker_runs_as_printed(tutorial: Path, process: Any, any_broker_url: str) -> None:
    mq = re.fullmatch(r"amqp://(.+):(.+)@(.+):(\d+)/(.*)", any_broker_url)
    assert mq is not None
    user, password, server, port, vhost = mq.groups()
    settings = {
        "server": server,
        "port": int(port),
        "user": user,
        "password": password,
        "vhost": vhost or "/",
    }
    (tutorial / "mq.json").write_text(json.dumps(settings))
    worker = process("replugin/megafrobberworker/__init__.py", "mq.json", folder=tutorial)
    worker.wait_for_line("consuming")
    process("-m", "reworker", "core", "--mq", any_broker_url, folder=tutorial).wait_for_line("core core runs")

    (tutorial / "frob.yaml").write_text(PLAYBOOK.format(subcommand="frob"))
    for _ in range(4):
        result = shown(tutorial, "frob.yaml")
        message = result["attempts"][0]["message"]
        number = int(message.rsplit(" ", 1)[1])
        passed = ("completed", "The frobbing passed, even random number generated: ")
        failed = ("failed", "Frobbing failed, odd random number generated: ")
        status, text = passed if number % 2 == 0 else failed
        assert result["status"] == status
        assert message.startswith(text)
        kinds = [event["event"] for event in result["events"]]
        assert kinds.count("ReplyStarted") == 1

    (tutorial / "wrong.yaml").write_text(PLAYBOOK.format(subcommand="unfrob"))
    result = shown(tutorial, "wrong.yaml")
    assert result["status"] == "failed"
    assert result["failure"]["reason"] == "invalid subcommand requested: unfrob"
    worker.wait_for_line("Rejecting message, invalid subcommand requested: unfrob")
    assert worker.is_running
