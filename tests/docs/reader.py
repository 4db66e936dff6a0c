"""Somebody who follows a page word for word, in a folder of their own, with real processes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.docs.pages import ROOT, Block
from tests.support.ports import free_port
from tests.support.processes import Process

#: what the pages show where each reader sees something else: (pattern, what stands for it).
CHANGING = (
    (re.compile(r"\b[0-9a-f]{24}\b"), "ID"),
    (re.compile(r"^[0-9a-f]{12}\b"), "LETTER"),
    (re.compile(r"\b(\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\d\.\d{3}Z?"), "TIME"),
    (re.compile(r"\bin \d+\.\d s"), "in N s"),
)
SHOWN_PORT, SHOWN_SMTP_PORT, SHOWN_HTTP_PORT = "5672", "2525", "8080"
COMMAND_S = 120.0


class Reader:
    """Does what the blocks of one page say.

    Args:
        folder: empty; a copy of conf/ is put there, which README speaks of.
        start: starts a process that is killed at the end of the test.
    """

    def __init__(self, folder: Path, start: Callable[..., Process]) -> None:
        self.folder, self._start = folder, start
        self._port, self._smtp_port, self._http_port = (str(free_port()) for _ in range(3))
        self._background: list[Process] = []
        self._last_id = ""
        self._variables: dict[str, str] = {}
        shutil.copytree(ROOT / "conf", folder / "conf")
        (folder / "conf" / "mq.json").write_text(self._own((ROOT / "conf" / "mq.json").read_text()))

    def follow(self, block: Block) -> None:
        """Do what one block says."""
        if block.verb == "stop":
            self._stop()
        elif block.path:
            self._write(block)
        elif block.language == "console" and block.verb == "instead of this":
            self._run_behind(block.word, "listening on", block)
        elif block.language == "console" and block.verb != "not run":
            self._type(block)

    def _write(self, block: Block) -> None:
        path = self.folder / block.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text.replace(SHOWN_SMTP_PORT, self._smtp_port))

    def _type(self, block: Block) -> None:
        for command, shown in commands_of(block.text):
            if block.verb == "background":
                self._run_behind(command, block.word, block)
            else:
                codes = block.word.split(" or ") if block.verb == "exit" else ["0"]
                self._run(command, shown, codes, block)

    def _run_behind(self, command: str, ready: str, block: Block) -> None:
        words = ["bash", "-c", f"exec {self._own(command)}"]
        process = self._start(command=words, folder=self.folder, environment=self._environment())
        self._background.append(process)
        try:
            process.wait_for_line(re.escape(ready))
        except TimeoutError as error:
            raise AssertionError(f"{block.place}: {error}") from error

    def _run(self, command: str, shown: list[str], codes: list[str], block: Block) -> None:
        if re.fullmatch(r"[A-Z]+=\w+", command):
            name, _, self._variables[name] = command.partition("=")
            return
        script = f"{self._own(command)}\ncode=$?\npwd >&3\nexit $code"
        read, write = os.pipe()
        result = subprocess.run(
            ["bash", "-c", f"exec 3>&{write}\n{script}"],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_S,
            pass_fds=(write,),
            check=False,
        )
        os.close(write)
        with os.fdopen(read) as pipe:
            self.folder = Path(pipe.read().strip() or self.folder)
        self._behold(result.stdout)
        said = f"{block.place}: {command}\nended with {result.returncode} and said:\n{result.stdout}"
        assert str(result.returncode) in codes, said
        for path in self.folder.glob("mq.json"):
            path.write_text(self._own(path.read_text()))
        missing = expected_lines(shown) - seen_lines(result.stdout.replace(self._port, SHOWN_PORT))
        assert not missing, f"{said}\nnot found in it: {', '.join(missing)}"

    def _behold(self, output: str) -> None:
        ids = re.findall(
            r"^(?:{\"id\":\")?([0-9a-f]{24})(?:\"| completed| failed| waits)", output, re.MULTILINE
        )
        self._last_id = ids[-1] if ids else self._last_id

    def _own(self, text: str) -> str:
        """Put this reader's port and deployment in the place of those that the page shows."""
        own = text.replace(SHOWN_PORT, self._port).replace(SHOWN_SMTP_PORT, self._smtp_port)
        own = own.replace(SHOWN_HTTP_PORT, self._http_port)
        own = re.sub(r"\b[0-9a-f]{24}\b", self._last_id, own) if self._last_id else own
        own = re.sub(r"^reworker up\b", f"reworker up --mq-port {self._port}", own)
        own = re.sub(r"^reworker broker\b", f"reworker broker --port {self._port}", own)
        return re.sub(r"^make demo\b", "reworker demo", own)

    def _environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("REWORKER_")}
        programs = str(Path(sys.executable).parent)
        path = f"{programs}{os.pathsep}{clean['PATH']}"
        return {
            **clean,
            **self._variables,
            "PATH": path,
            "TERM": "dumb",
            "IRON_PORT": self._http_port,  # else clients ask the port that is shown
            "PYTEST_ADDOPTS": "-p no:cacheprovider",
        }

    def _stop(self) -> None:
        while self._background:
            process = self._background.pop()
            code = process.terminate()
            assert code == 0 or "aiosmtpd" in process.arguments[-1], f"{process.arguments}: {code}"


def commands_of(text: str) -> list[tuple[str, list[str]]]:
    """Return each command of a console block with the lines that are shown as its output."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ ") and not _is_demo_output(found, line):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
    return found


def _is_demo_output(found: list[tuple[str, list[str]]], line: str) -> bool:
    """The demo prints the commands that it stands for."""
    return bool(found) and found[-1][0] == "make demo" and "   # " in line


def expected_lines(shown: list[str]) -> Counter[str]:
    """Return what has to be seen; confirms overtake replies now and then, so `sent` need not."""
    return Counter(
        _plain(line) for line in shown if line.strip() not in ("", "...") and not line.endswith("  sent")
    )


def seen_lines(output: str) -> Counter[str]:
    """Return what was seen."""
    return Counter(_plain(line) for line in output.splitlines())


def _plain(line: str) -> str:
    for pattern, word in CHANGING:
        line = pattern.sub(word, line)
    return " ".join(line.split())
