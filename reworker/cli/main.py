"""The command group, loaded lazily so that `--help` is quick, and the one map from errors to exit codes."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

from reworker import __version__
from reworker.errors import (
    BusError,
    ConfigError,
    MessageError,
    PlaybookInvalid,
    ReworkerError,
    ServerAway,
    StorageUnavailable,
)
from reworker.logs import escaped
from reworker.pool.signals import StopRequested
from reworker.task_errors import PackageInvalid, TaskRefused

#: command -> module and attribute that hold it.
COMMANDS = {
    "approve": "reworker.cli.actions:approve",
    "broker": "reworker.cli.broker:broker",
    "cancel": "reworker.cli.actions:cancel",
    "control": "reworker.cli.control:control",
    "code": "reworker.cli.codes:code",
    "completion": "reworker.cli.completion:completion",
    "config": "reworker.cli.config:config",
    "conformance": "reworker.cli.conformance:conformance",
    "core": "reworker.cli.core:core",
    "dead": "reworker.cli.dead:dead",
    "decide": "reworker.cli.actions:decide",
    "demo": "reworker.cli.demo:demo",
    "doctor": "reworker.cli.doctor:doctor",
    "drill": "reworker.cli.drill:drill",
    "host": "reworker.cli.host:host",
    "lint": "reworker.cli.playbooks:lint",
    "login": "reworker.cli.login:login",
    "logout": "reworker.cli.login:logout",
    "logs": "reworker.cli.show:logs",
    "ls": "reworker.cli.show:ls",
    "new": "reworker.cli.new:new",
    "params": "reworker.cli.params:params",
    "pause": "reworker.cli.actions:pause",
    "plan": "reworker.cli.playbooks:plan",
    "playbook": "reworker.cli.stored:playbook",
    "project": "reworker.cli.project:project",
    "prune": "reworker.cli.prune:prune",
    "refuse": "reworker.cli.actions:refuse",
    "resume": "reworker.cli.actions:resume",
    "retry": "reworker.cli.actions:retry",
    "run": "reworker.cli.run:run",
    "schedule": "reworker.cli.schedule:schedule",
    "schema": "reworker.cli.schema:schema",
    "serve": "reworker.cli.serve:serve",
    "show": "reworker.cli.show:show",
    "task": "reworker.cli.task:task",
    "token": "reworker.cli.tokens:token",
    "topology": "reworker.cli.topology:topology",
    "up": "reworker.cli.up:up",
    "verify": "reworker.cli.verify:verify",
    "watch": "reworker.cli.run:watch",
    "web": "reworker.cli.web:web",
    "whoami": "reworker.cli.login:whoami",
    "worker": "reworker.cli.worker:worker",
}

#: set by a shell that completes.
COMPLETION = "_REWORKER_COMPLETE"

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_CANCELLED, EXIT_WAITING, EXIT_UNREACHABLE = range(6)
#: Ctrl-C while following: the outcome is not known yet. Source: shells give 128 + SIGINT.
EXIT_DETACHED = 130


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, or None when there is none of this name."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; end well when who was reading, such as `head`, has read enough."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(EXIT_OK)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="reworker")
def cli() -> None:
    """Run release steps and background work over RabbitMQ."""


def exit_code(error: ReworkerError) -> int:
    """Return the exit code that tells a script whose fault an error is."""
    if isinstance(error, ConfigError | PlaybookInvalid | MessageError | PackageInvalid | TaskRefused):
        return EXIT_USAGE
    if isinstance(error, BusError | StorageUnavailable | ServerAway):
        return EXIT_UNREACHABLE
    return EXIT_FAILED


def main() -> None:
    """Run the command line; errors of ours end in one line on stderr and an exit code."""
    if COMPLETION in os.environ:
        # it tells click how our words are to be read
        import_module(COMMANDS["completion"].partition(":")[0])
    try:
        cli()
    except StopRequested:
        click.echo("reworker: stopped while looking for the broker", err=True)
    except ReworkerError as error:
        for line in str(error).splitlines():
            click.echo(escaped(f"reworker: {line}"), err=True)
        sys.exit(exit_code(error))
