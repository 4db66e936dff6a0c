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

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from reworker.errors import ConfigError, JobFailed
from reworker.worker import Job, Worker, runner, step

#: longest a command may run unless its configuration says otherwise, seconds.
TIMEOUT_S = 3600.0
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
        argv = [_filled(argument, values) for argument in command.argv]
        job.run(argv, env=_environment(command, values), timeout_s=command.timeout_s)
        return {"exit_code": 0}


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
