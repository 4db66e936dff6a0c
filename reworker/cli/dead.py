"""``reworker dead``: the dead letters, to look at, send back or throw away."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click

from reworker.cli import letters
from reworker.cli.letter_places import LetterPlace, Results, place_of
from reworker.cli.main import EXIT_FAILED
from reworker.cli.options import output_option, place_of_bus_options
from reworker.clock import SystemClock
from reworker.core import letter_box
from reworker.errors import ConnectionLost, ServerAway
from reworker.logs import escaped
from reworker.topology.letters import Filter
from reworker.topology.names import DEAD_QUEUE

F = TypeVar("F", bound=Callable[..., Any])
#: does something to the letters that are named in the results, and notes there what became of each.
Deed = Callable[[LetterPlace, int, Results], None]

#: letters that are looked at unless a command is told otherwise: a few seconds of work for a broker.
LOOKED_AT_COUNT = 10_000
#: why, for the audit of a server, when nobody says.
_WHY = "reworker dead"
_AGE = re.compile(r"([0-9]{1,9})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """Return the moment that was so long ago, such as ``30m`` or ``2d``."""
    if value is None:
        return None
    match = _AGE.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no age: give a number and s, m, h or d, such as 30m or 2d")
    try:
        return SystemClock().now() - timedelta(**{_UNITS[match[2]]: int(match[1])})
    except OverflowError as error:
        raise click.BadParameter(f"{value!r} is before all times") from error


def place_options(function: F) -> F:
    """Add where to look, and how far."""
    queue = click.option(
        "--dead-queue",
        default=DEAD_QUEUE,
        show_default=True,
        metavar="NAME",
        help="Queue of the dead letters.",
    )
    limit = click.option(
        "--limit",
        type=click.IntRange(1),
        default=LOOKED_AT_COUNT,
        show_default=True,
        help="Letters to look at, from the oldest on.",
    )
    return place_of_bus_options(queue(limit(function)))


def filter_options(function: F) -> F:
    """Add which letters are meant."""
    older = click.option(
        "--older-than",
        "before",
        metavar="AGE",
        callback=moment,
        help="Only those refused before, such as 2d.",
    )
    newer = click.option(
        "--newer-than", "after", metavar="AGE", callback=moment, help="Only those refused since, such as 30m."
    )
    reason = click.option(
        "--reason", default="", metavar="TEXT", help="Only those whose reason has this TEXT."
    )
    queue = click.option("--queue", default="", metavar="NAME", help="Only those refused from this queue.")
    return queue(reason(older(newer(function))))


def choice_options(function: F) -> F:
    """Add which letters a command works on, and whether it really does."""
    ids = click.argument("ids", nargs=-1, metavar="[ID]...")
    every = click.option("--all", "is_all", is_flag=True, help="All letters, or all that the filters leave.")
    dry = click.option("--dry-run", "is_dry", is_flag=True, help="Only say what would be done.")
    yes = click.option("--yes", "is_sure", is_flag=True, help="Do not ask, however many they are.")
    why = click.option("--why", default=_WHY, metavar="TEXT", help="Why, for the audit of a server.")
    return ids(every(filter_options(dry(yes(why(function))))))


@dataclass(frozen=True)
class Order:
    """What a person wants done, and to which letters."""

    place: LetterPlace
    limit: int
    output: str
    ids: tuple[str, ...]
    is_all: bool
    is_dry: bool
    is_sure: bool
    wanted: Filter

    @classmethod
    def of(cls, options: dict[str, Any]) -> Order:
        """Return the order in the options of a command.

        Raises:
            click.UsageError: neither letters nor all are named, or both.
        """
        names = Filter.__struct_fields__
        wanted = Filter(**{name: options.pop(name) for name in names})
        where = (options.pop(name) for name in ("mq", "server", "dead_queue", "why"))
        order = cls(place=place_of(*where), wanted=wanted, **options)
        if bool(order.ids) == order.is_all:
            raise click.UsageError("give the ids of the letters, or --all, with filters or without")
        if order.ids and wanted != Filter():
            raise click.UsageError("filters go with --all, not with ids")
        return order


@click.group()
def dead() -> None:
    """Dead letters: messages that nobody could use, to look at, send back or throw away."""


@dead.command()
@place_options
@filter_options
@output_option
def ls(mq: str | None, server: str | None, dead_queue: str, limit: int, output: str, **filters: Any) -> None:
    """List dead letters, the oldest first; each stays where it is."""
    look = place_of(mq, server, dead_queue).look(limit, Filter(**filters))
    if output == "json":
        rows = [letter_box.row(one) for one in look.letters]
        summary = {"queue": dead_queue, "ready": look.ready, "looked_at": look.looked_at, "letters": rows}
        click.echo(json.dumps(summary))
        return
    letters.echo(letters.table(look.letters))
    left_count = look.ready - look.looked_at
    left = f", {left_count} more are there" if left_count > 0 else ""
    click.echo(
        f"{letters.counted(len(look.letters))}; looked at {look.looked_at} in {escaped(dead_queue)}{left}"
    )


@dead.command()
@click.argument("text", metavar="ID")
@place_options
@output_option
def show(text: str, mq: str | None, server: str | None, dead_queue: str, limit: int, output: str) -> None:
    """Show one dead letter: why it is there, its properties, headers and body.

    ID is as much of what `ls` shows as no other letter shares.
    """
    place = place_of(mq, server, dead_queue)
    (own_id,) = letter_box.named(place.look(limit, Filter()).letters, [text], dead_queue)
    view = place.view(limit, own_id)
    if output == "json":
        click.echo(letters.document(view.letter, view.properties, view.body))
    else:
        letters.echo(letters.page(view.letter, view.properties, view.body))


@dead.command()
@place_options
@choice_options
@click.option("--to", default="", metavar="QUEUE", help="Straight to this queue, not to where it came from.")
@click.option("--force", is_flag=True, help="Send back steps too, though their core has its answer.")
@output_option
def redrive(to: str, force: bool, **options: Any) -> None:
    """Send dead letters back to where they came from.

    Each is published to its old exchange with its old routing key, and taken away when the broker has
    confirmed that a queue has it. A step whose core has its answer is left: resume the deployment instead.
    """
    how = letter_box.Return(SystemClock().now(), to, force)
    carry_out(
        Order.of(options),
        "sent back",
        lambda place, limit, results: place.send_back(limit, results, how),
    )


@dead.command()
@place_options
@choice_options
@output_option
def drop(**options: Any) -> None:
    """Throw dead letters away, for good."""
    carry_out(Order.of(options), "thrown away", lambda place, limit, results: place.drop(limit, results))


def carry_out(order: Order, done: str, deed: Deed) -> None:
    """Find the letters that are meant, ask, and do it to each.

    Args:
        order: which.
        done: what will have been done, in words.
        deed: does it to them.
    """
    found = order.place.look(order.limit, order.wanted).letters
    if order.ids:
        ids = letter_box.named(found, order.ids, order.place.queue)
        found = [one for one in found if one.id in ids]
    if order.is_dry:
        _report(order, f"would be {done}", {one.id: "" for one in found})
        return
    _require_consent(order, len(found), done)
    results = {one.id: "it is not there any more" for one in found}
    try:
        deed(order.place, order.limit, results)
    except (ConnectionLost, ServerAway):
        count = letters.counted(sum(not one for one in results.values()))
        click.echo(f"{count} {done} before that", err=True)
        raise
    _report(order, done, results)


def _require_consent(order: Order, count: int, done: str) -> None:
    if count <= 1 or order.is_sure:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{count} dead letters would be {done}: say --yes, or --dry-run to see them")
    click.confirm(f"{count} dead letters will be {done}. Go on?", abort=True, err=True)


def _report(order: Order, done: str, results: dict[str, str]) -> None:
    """Say what was done, and why not where it was not; that is exit code 1."""
    left = {id_: why for id_, why in results.items() if why}
    ids = [id_ for id_, why in results.items() if not why]
    if order.output == "json":
        click.echo(json.dumps({"done": done, "ids": ids, "left": left}))
    else:
        letters.echo([*ids, f"{letters.counted(len(ids))} {done}"])
        for id_, why in left.items():
            click.echo(escaped(f"{id_} is left: {why}"), err=True)
    if left:
        sys.exit(EXIT_FAILED)
