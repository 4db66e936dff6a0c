"""``reworker topology``: exchanges, queues and bindings as a file, and a live broker held against it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from reworker.cli.live_broker import Comparison, compared
from reworker.cli.main import EXIT_FAILED
from reworker.cli.options import mq_option, output_option
from reworker.errors import BusError, TopologyMismatch
from reworker.logs import escaped

if TYPE_CHECKING:
    from reworker.topology.plan import Entry

#: what the broker answers about a thing that is not there. Source: AMQP 0-9-1.
NOT_FOUND = 404

F = TypeVar("F", bound=Callable[..., Any])


def _file_option(function: F) -> F:
    option = click.option("-f", "--file", "path", required=True, type=click.Path(dir_okay=False))
    return option(function)


def _live_options(function: F) -> F:
    """Add what every command needs that looks at a broker."""
    help_text = "RabbitMQ's management plugin; without it, what AMQP cannot tell is not shown."
    management = click.option("--management", envvar="REWORKER_MANAGEMENT", metavar="URL", help=help_text)
    return _file_option(mq_option(management(output_option(function))))


@click.group()
def topology() -> None:
    """Exchanges, queues and bindings as a file."""


@topology.command()
@_live_options
def plan(path: str, mq: str, management: str | None, output: str) -> None:
    """Show what is different between a file and a broker; change nothing.

    + is to be created, = is as in the file, ! differs, - is ours and not in the file, ? could not be seen.
    """
    with compared(path, mq, management) as found:
        _show(found, output)


@topology.command()
@_live_options
def check(path: str, mq: str, management: str | None, output: str) -> None:
    """Do what plan does, and end with 1 when something is different."""
    with compared(path, mq, management) as found:
        _show(found, output)
    if not found.plan.is_same:
        sys.exit(EXIT_FAILED)


@topology.command()
@_live_options
def apply(path: str, mq: str, management: str | None, output: str) -> None:
    """Make what is missing; when something differs, make nothing and end with 1."""
    from reworker.topology.change import make_missing
    from reworker.topology.plan import State

    with compared(path, mq, management) as found:
        differing = found.plan.of(State.DIFFERS)
        made: list[Entry] = []
        error = ""
        if not differing:
            try:
                make_missing(found.plan, found.broker, made.append)
            except TopologyMismatch as refusal:
                error = str(refusal)
    if output == "json":
        _show(found, output, made=[f"{one.kind} {one.name}" for one in made], error=error)
    else:
        _echo(_applied(found, made))
    if differing or error:
        reason = error or f"{len(differing)} different from {path}; nothing was made"
        click.echo(escaped(f"reworker: {reason}"), err=True)
        sys.exit(EXIT_FAILED)


def _applied(found: Comparison, made: list[Entry]) -> Iterable[str]:
    """Yield what is on the broker now; or, when nothing was made because of a difference, the plan."""
    from reworker.cli.topology_report import MARKS, line_of, lines_of
    from reworker.topology.plan import State

    if found.plan.of(State.DIFFERS):
        yield from lines_of(found.plan, found.file.path)
        return
    for entry in found.plan.of(State.SAME, State.CREATE, State.UNSEEN):
        if entry in made and entry.state is State.UNSEEN:
            yield f"{MARKS[State.SAME]} {entry.kind} {entry.name}"
        elif entry in made or entry.state is not State.CREATE:
            yield line_of(entry)


@topology.command()
@_live_options
@click.option("--queue", "queues", multiple=True, metavar="NAME", help="This queue; may be repeated.")
@click.option("--exchange", "exchanges", multiple=True, metavar="NAME", help="This exchange.")
@click.option("--yes", "is_agreed", is_flag=True, help="Do not ask.")
@click.option("--force", "is_forced", is_flag=True, help="Also what holds messages or is in use.")
@click.option("--blind", "is_blind", is_flag=True, help="Also when nobody sees what workers have in hand.")
def prune(path: str, mq: str, management: str | None, output: str, **how: Any) -> None:
    """Delete queues and bindings of ours that are not in the file; with names, only these.

    Ours are the queues whose name fits `scope` in the file (worker.* unless it says otherwise) and all
    bindings of the queues in the file. A queue with messages or consumers stays, unless forced.
    Messages that a worker has in hand are seen by the management plugin alone: without it, --blind says
    that there are none.
    """
    with compared(path, mq, management) as found:
        doomed = _doomed(found, how["queues"], how["exchanges"])
        if not doomed:
            _show_pruned([], [], output)
            return
        if not (how["is_forced"] or how["is_blind"]):
            _require_sight(found, doomed)
        _ask(doomed, is_agreed=how["is_agreed"])
        deleted, kept = _delete(found, doomed, is_forced=how["is_forced"])
    _show_pruned(deleted, kept, output)
    if kept:
        sys.exit(EXIT_FAILED)


def _doomed(found: Comparison, queues: tuple[str, ...], exchanges: tuple[str, ...]) -> list[Entry]:
    from reworker.topology.change import named_entries
    from reworker.topology.plan import State

    if queues or exchanges:
        return [
            one for one in named_entries(found.file, found.plan, exchanges, queues) if _is_there(found, one)
        ]
    if found.in_hand is None:
        raise BusError(
            f"what is not in the file cannot be listed: {found.plan.unseen[-1]}, or name it with --queue"
        )
    return found.plan.of(State.EXTRA)


def _is_there(found: Comparison, entry: Entry) -> bool:
    """Tell whether the broker has it, and say so when not: to a broker, deleting nothing is no mistake."""
    find = found.broker.find_queue if entry.kind == "queue" else found.broker.find_exchange
    is_there = find(entry.name).reply_code != NOT_FOUND
    if not is_there:
        click.echo(escaped(f"{entry.kind} {entry.name} is not there"), err=True)
    return is_there


def _require_sight(found: Comparison, doomed: list[Entry]) -> None:
    """Refuse to delete queues of which nobody can tell whether a worker has a message of them in hand."""
    queues = [one.name for one in doomed if one.kind == "queue"]
    if queues and found.in_hand is None:
        raise BusError(
            f"not deleted: {', '.join(queues)}. A worker may have messages of it in hand, which would be lost"
            f" and which AMQP does not show; {found.plan.unseen[-1]}, after `rabbitmq-plugins enable"
            " rabbitmq_management` on the broker; or stop its workers and say --blind"
        )


def _ask(doomed: list[Entry], *, is_agreed: bool) -> None:
    """Ask whether to go on; the answer no, or nobody to ask, ends the command with 1."""
    from reworker.cli.topology_report import line_of

    if is_agreed:
        return
    for entry in doomed:
        click.echo(escaped(line_of(entry)), err=True)
    click.confirm("Delete these?", abort=True, err=True)


def _delete(
    found: Comparison, doomed: list[Entry], *, is_forced: bool
) -> tuple[list[Entry], list[tuple[Entry, str]]]:
    from reworker.topology.change import delete

    deleted, kept = [], []
    for entry in doomed:
        in_hand_count = (found.in_hand or {}).get(entry.name, 0) if entry.kind == "queue" else 0
        reason = delete(entry, found.broker, is_forced=is_forced, in_hand_count=in_hand_count)
        if reason:
            kept.append((entry, reason))
        else:
            deleted.append(entry)
    return deleted, kept


def _show_pruned(deleted: list[Entry], kept: list[tuple[Entry, str]], output: str) -> None:
    if output == "json":
        gone = [{"kind": one.kind, "name": one.name} for one in deleted]
        left = [{"kind": one.kind, "name": one.name, "reason": reason} for one, reason in kept]
        click.echo(json.dumps({"deleted": gone, "kept": left}))
        return
    _echo(f"deleted {one.kind} {one.name}" for one in deleted)
    _echo(f"kept {one.kind} {one.name}: {reason}; --force deletes it" for one, reason in kept)
    if not deleted and not kept:
        click.echo("nothing to delete")


@topology.command()
@_file_option
@click.option("--vhost", default="/", show_default=True, help="Virtual host.")
@output_option
def permissions(path: str, vhost: str, output: str) -> None:
    """Print the least rights on RabbitMQ of everybody in the file: the core, each worker type, clients.

    As commands of rabbitmqctl, or with -o json as a file for `rabbitmqctl import_definitions`. The users
    have to exist; this needs no broker.
    """
    from reworker.errors import ConfigError
    from reworker.topology.file import load_topology
    from reworker.topology.permissions import commands_of, definitions_of, rights_of

    rights = rights_of(load_topology(path))
    if not rights:
        raise ConfigError("names nobody: add workers, core or clients", path=path)
    if output == "json":
        click.echo(json.dumps(definitions_of(rights, vhost), indent=2))
    else:
        _echo(commands_of(rights, vhost))


def _show(found: Comparison, output: str, **more: Any) -> None:
    from reworker.cli.topology_report import json_of, lines_of

    if output == "json":
        click.echo(json.dumps(json_of(found.plan, found.file.path, **more)))
    else:
        _echo(lines_of(found.plan, found.file.path))


def _echo(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(escaped(line))
