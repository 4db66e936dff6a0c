"""What bash suggests, asked as bash asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLAYBOOK = """\
group: web
name: banner
params:
  color: {type: string, enum: [red, blue], default: red, description: of the banner}
  count: {type: integer}
  loud: {type: boolean}
execution:
  - hosts: [a]
    steps:
      - noop:Run: {dynamic: [color, other]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "play.yaml").write_text(PLAYBOOK)
    return tmp_path


def in_bash(folder: Path, script: str) -> list[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = {**os.environ, "PATH": path}
    found = subprocess.run(
        ["bash", "-c", f'eval "$(reworker completion bash)"; {script}'],
        cwd=folder,
        env=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.split()


def suggested(folder: Path, *words: str) -> list[str]:
    """Return what bash suggests for the last word."""
    quoted = " ".join(f"'{word}'" for word in words)
    script = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _reworker_completion reworker"
    return in_bash(folder, f'{script}; echo "${{COMPREPLY[@]}}"')


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("reworker", "compl"), ["completion"]),
        (("reworker", "run", "play.yaml", "-e", ""), ["color=", "count=", "loud=", "other="]),
        (("reworker", "run", "play.yaml", "-e", "co"), ["color=", "count="]),
        (("reworker", "run", "play.yaml", "-e", "color", "="), ["red", "blue"]),
        (("reworker", "run", "play.yaml", "-e", "color", "=", "b"), ["blue"]),
        (("reworker", "run", "-e", "loud", "=", "t", "play.yaml"), []),
        (("reworker", "run", "none.yaml", "-e", ""), []),
    ],
)
def test_bash_suggests_what_fits(folder: Path, words: tuple[str, ...], wanted: list[str]) -> None:
    assert [one for one in suggested(folder, *words) if "play.yaml" not in one] == wanted


def test_nothing_is_suggested_when_the_playbook_is_wrong(folder: Path) -> None:
    (folder / "play.yaml").write_text("group: [")
    assert suggested(folder, "reworker", "run", "play.yaml", "-e", "") == []
