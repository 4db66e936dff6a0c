"""What people see on a terminal when a playbook and its worker send control characters."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import Process

#: terminal title, clear screen with an 8-bit control character, overwriting, reversed text.
EVIL = "\x1b]0;evil\x07\x9b2J\rover\u202egpj\x08"
PLAYBOOK = r"""
group: g
name: n
execution:
- description: "[red]\e]0;evil\a\x9b2J\rover\u202egpj\b</script>"
  hosts: [web1]
  steps:
  - scripted:Play: {outcome: fail, message: "\e]0;evil\a\x9b2J\rover\u202egpj\b"}
"""
COMMANDS = [
    ("run", "evil.yaml"),
    ("run", "evil.yaml", "-o", "json"),
    ("watch", "{id}"),
    ("show", "{id}"),
    ("show", "{id}", "-o", "json"),
    ("logs", "{id}"),
    ("logs", "{id}", "-o", "json"),
    ("ls",),
    ("plan", "evil.yaml"),
    ("plan", "evil.yaml", "-o", "json"),
    ("lint", "evil.yaml"),
    ("show", EVIL),
    ("run", EVIL),
]


def on_terminal(folder: Path, *arguments: str) -> str:
    """Return what a command writes when it runs on a terminal of its own."""
    ours, theirs = pty.openpty()
    pieces: list[bytes] = []

    def read() -> None:
        try:
            while piece := os.read(ours, 65536):
                pieces.append(piece)
        except OSError:  # Linux says so when the other side has closed
            return

    reader = threading.Thread(target=read)
    reader.start()
    command = [sys.executable, "-m", "reworker", *arguments]
    subprocess.run(command, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, timeout=90, check=False)
    os.close(theirs)
    reader.join(30)
    os.close(ours)
    return b"".join(pieces).decode()


def is_safe(text: str) -> bool:
    """Tell whether a terminal is only told to colour, and to move within what rich has drawn."""
    drawn = re.sub(r"\x1b\[[0-9;]*[mKAG]|\x1b\[\?25[lh]|\r?\n|\r\x1b\[2K", "", text)
    return all(one.isprintable() for one in drawn)


@pytest.fixture
def site(process: Callable[..., Process], broker_url: str, tmp_path: Path) -> Path:
    (tmp_path / "evil.yaml").write_text(PLAYBOOK)
    core = process("-m", "reworker", "core", "--mq", broker_url)
    worker = process("-m", "reworker.testing.scripted", broker_url)
    core.wait_for_line("core .* runs")
    worker.wait_for_line("consuming")
    return tmp_path


def test_nothing_a_worker_sent_reaches_the_terminal_raw(site: Path) -> None:
    first = on_terminal(site, "run", "evil.yaml")
    assert "failed" in first
    assert r"\x1b]0;evil" in first
    (own_id,) = re.findall(r"^([0-9a-f]{24}) failed", first.replace("\x1b[?25h", ""), re.MULTILINE)
    for arguments in COMMANDS:
        text = on_terminal(site, *(part.replace("{id}", own_id) for part in arguments))
        assert is_safe(text), (arguments, text)
        assert "Traceback" not in text
