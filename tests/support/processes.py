"""Real processes for tests: output captured as it comes, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

#: seconds on a busy machine: for a line to come, for a process to end by itself, and after it was told to.
LINE_S, END_S, STOP_S = 60.0, 60.0, 30.0


def _with_usual_signals() -> list[str]:
    """Return what runs a command with the signals of a shell, also where ours ignores them (`&`, nohup)."""
    ignored = [
        one.name.removeprefix("SIG")
        for one in (signal.SIGINT, signal.SIGHUP)
        if signal.getsignal(one) is signal.SIG_IGN
    ]
    return ["env", f"--default-signal={','.join(ignored)}"] if ignored else []


class Process:
    """One started process, leader of its own group; stdout and stderr come as one stream.

    Args:
        arguments: given to this Python interpreter, for example ``"-m", "reworker"``.
        command: instead of the interpreter, what to run with the arguments.
        environment: added to ours; None as a value removes a variable.
        folder: working directory.
    """

    def __init__(
        self,
        *arguments: str,
        command: Sequence[str] = (sys.executable,),
        environment: Mapping[str, str | None] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.arguments = [*command, *arguments]
        self._lines: list[str] = []
        self._looked_at_count = 0
        self._news = threading.Condition()
        self._has_ended_output = False
        self._popen = subprocess.Popen(
            [*_with_usual_signals(), *self.arguments],
            cwd=folder,
            env=_environment(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name=f"output of {self.pid}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as stream:
            for line in stream:
                with self._news:
                    self._lines.append(line.rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._has_ended_output = True
            self._news.notify_all()

    @property
    def pid(self) -> int:
        """Process id, and id of its group."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit code; negative for a signal; None while it runs."""
        return self._popen.poll()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self.exit_code is None

    @property
    def output(self) -> str:
        """Everything it wrote so far."""
        with self._news:
            return "\n".join(self._lines)

    def wait_for_line(self, pattern: str, timeout_s: float = LINE_S) -> re.Match[str]:
        """Return the first match in a line that no earlier call has passed.

        Lines up to and including the found one count as passed, so a second
        call with the same pattern waits for a second line.

        Raises:
            TimeoutError: no such line came, or the output ended without it;
                the message holds the whole output.
        """
        deadline_mono_s = time.monotonic() + timeout_s
        with self._news:
            while True:
                match = self._next_match(pattern)
                if match:
                    return match
                left_s = deadline_mono_s - time.monotonic()
                if self._has_ended_output or left_s <= 0:
                    raise TimeoutError(self._complaint(f"no line matches {pattern!r}"))
                self._news.wait(left_s)

    def _next_match(self, pattern: str) -> re.Match[str] | None:
        for index in range(self._looked_at_count, len(self._lines)):
            match = re.search(pattern, self._lines[index])
            if match:
                self._looked_at_count = index + 1
                return match
        return None

    def _complaint(self, what: str) -> str:
        text = "\n".join(self._lines)
        if self._has_ended_output:  # most often the process ends a moment later
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(1)
        state = "runs" if self.is_running else f"ended with {self.exit_code}"
        return f"{what}; {' '.join(self.arguments)} {state}; its output:\n{text}"

    def wait(self, timeout_s: float = END_S) -> int:
        """Wait for its end and the end of its output; return the exit code.

        Raises:
            TimeoutError: it still runs; the message holds the whole output.
        """
        try:
            code = self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(self._complaint(f"still running after {timeout_s:g} s")) from error
        self._reader.join(timeout_s)
        return code

    def send_signal(self, signum: signal.Signals) -> None:
        """Send a signal to the process alone, not to its children."""
        self._popen.send_signal(signum)

    def terminate(self, timeout_s: float = STOP_S) -> int:
        """Send SIGTERM, wait for the end, return the exit code."""
        self.send_signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def kill9(self) -> None:
        """Kill the process and all of its group at once, and reap it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait(STOP_S)

    def close(self) -> None:
        """Kill what still runs of the group; safe to call twice."""
        self.kill9()
        self._reader.join(STOP_S)


def _environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return ours with the changes; Python children write lines at once."""
    merged = {**os.environ, "PYTHONUNBUFFERED": "1", **changes}
    return {name: value for name, value in merged.items() if value is not None}
