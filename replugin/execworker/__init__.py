"""exec: runs commands that stand in its own configuration; a message only says which.

Its settings::

    commands:
      Restart:                      # subcommand
        argv: [/usr/bin/systemctl, restart, "{service}"]
        parameters: {service: "[a-z][a-z0-9-]*"}    # regular expression for the whole value
        environment: {MODE: fast}
        timeout_s: 60
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

from reworker.errors import ConfigError, JobFailed
from reworker.worker import Job, Worker, runner, step

#: seconds between two looks at the command, and for its last words after SIGTERM.
POLL_S, GRACE_S = 0.1, 2.0
#: longest a command may run unless its configuration says otherwise, seconds.
TIMEOUT_S = 3600.0
#: characters of one line of output; lines of output kept for the reply of a failure.
LINE_LENGTH, LAST_LINES = 16_384, 20
#: variables of our environment that a command gets; no more, so that no secret leaks.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME", "TMPDIR")
#: `{host}` in an argument: the step's host.
HOST_PATTERN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._:-]{0,252}[A-Za-z0-9])?")
_PLACEHOLDER = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


class Command(NamedTuple):
    """One entry of the configuration."""

    argv: list[str]
    parameters: dict[str, re.Pattern[str]]
    environment: dict[str, str]
    timeout_s: float


class ExecWorker(Worker):
    """Runs one command at a time, without a shell; its process group never outlives the job."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        commands = self._config.get("commands")
        if not isinstance(commands, Mapping) or not commands:
            raise ConfigError("name the commands that may be run", key="commands")
        self._commands = {str(name): _command_of(str(name), value) for name, value in commands.items()}

    @step("*")
    def run(self, job: Job, **parameters: Any) -> dict[str, Any]:
        """Run the command of this subcommand."""
        command = self._commands.get(job.subcommand)
        if command is None:
            known = ", ".join(sorted(self._commands))
            raise JobFailed(f"no command {job.subcommand!r} is configured; configured: {known}")
        values = _checked(command, parameters)
        _add_host(command, values, job.hosts)
        return _run(job, [_filled(argument, values) for argument in command.argv], command, values)


def _run(job: Job, argv: list[str], command: Command, values: dict[str, str]) -> dict[str, Any]:
    process = _started(argv, _environment(command, values))
    last: deque[str] = deque(maxlen=LAST_LINES)
    assert process.stdout is not None
    reader = threading.Thread(target=_stream, args=(process.stdout, job, last), daemon=True)
    reader.start()
    try:
        _wait(process, job, command.timeout_s)
    finally:
        _kill_group(process)
        reader.join(GRACE_S)
        process.stdout.close()
    if process.returncode != 0:
        text = f"{argv[0]} ended with {_end_of(process.returncode)}"
        raise JobFailed(text, {"exit_code": process.returncode, "last_lines": list(last)})
    return {"exit_code": 0}


def _started(argv: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise JobFailed(f"{argv[0]} cannot be started: {error}") from error


def _wait(process: subprocess.Popen[str], job: Job, timeout_s: float) -> None:
    left_s = timeout_s
    while True:
        try:
            process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            left_s -= POLL_S
        else:
            return
        job.check_cancelled()
        if left_s <= 0:
            raise JobFailed(f"was killed: it ran longer than {timeout_s:g} s")


def _kill_group(process: subprocess.Popen[str]) -> None:
    """End the command and whatever it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)


def _stream(stream: IO[str], job: Job, last: deque[str]) -> None:
    with contextlib.suppress(ValueError):  # closed below us: a child of the command kept it open
        while line := stream.readline(LINE_LENGTH):
            text = line.rstrip("\r\n")
            last.append(text)
            job.output.info("%s", text)


def _environment(command: Command, values: dict[str, str]) -> dict[str, str]:
    own = {name: os.environ[name] for name in INHERITED if name in os.environ}
    given = {f"PARAMETER_{name.upper()}": value for name, value in values.items()}
    return {**own, **command.environment, **given}


def _checked(command: Command, parameters: Mapping[str, Any]) -> dict[str, str]:
    problems = [f"{name}: unknown parameter" for name in parameters if name not in command.parameters]
    values = {}
    for name, pattern in command.parameters.items():
        value = parameters.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            problems.append(f"{name}: expected a text or a number, found {value!r}")
        elif not pattern.fullmatch(str(value)):
            problems.append(f"{name}: {value!r} does not match {pattern.pattern!r}")
        else:
            values[name] = str(value)
    if problems:
        raise JobFailed("; ".join(problems))
    return values


def _add_host(command: Command, values: dict[str, str], hosts: list[str]) -> None:
    if not any("{host}" in argument for argument in command.argv):
        return
    host = hosts[0] if hosts else ""
    if not HOST_PATTERN.fullmatch(host):
        raise JobFailed(f"{host!r} is no host name")
    values["host"] = host


def _filled(argument: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), argument)


def _end_of(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _command_of(name: str, value: Any) -> Command:
    key = f"commands.{name}"
    if not isinstance(value, Mapping):
        raise ConfigError("expected a mapping with argv", key=key)
    argv, parameters = value.get("argv"), value.get("parameters") or {}
    if not isinstance(argv, list) or not argv or not all(isinstance(one, str) for one in argv):
        raise ConfigError("expected a list of texts: the program and its arguments", key=f"{key}.argv")
    if _PLACEHOLDER.search(argv[0]):
        raise ConfigError("the program itself may not come from a parameter", key=f"{key}.argv")
    timeout_s = value.get("timeout_s", TIMEOUT_S)
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or timeout_s <= 0:
        raise ConfigError(f"expected seconds, found {timeout_s!r}", key=f"{key}.timeout_s")
    try:
        patterns = {str(one): re.compile(str(pattern)) for one, pattern in parameters.items()}
    except (AttributeError, re.error) as error:
        raise ConfigError(
            f"expected names with regular expressions: {error}", key=f"{key}.parameters"
        ) from error
    environment = {str(one): str(text) for one, text in (value.get("environment") or {}).items()}
    return Command(argv, patterns, environment, float(timeout_s))


def main() -> None:
    """Run this worker: ``python replugin/execworker/__init__.py mq.json -w exec.yaml``."""
    runner(ExecWorker)


if __name__ == "__main__":
    main()
