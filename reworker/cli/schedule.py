"""``reworker schedule``: tasks of codes at a time, every so often, or by a cron expression."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

import click

from reworker.cli.options import core_option, output_option
from reworker.cli.wiring import opened_work
from reworker.cli.work_options import (
    any_project_option,
    code_meant,
    complete_code,
    json_line,
    length,
    made,
    moment,
    project_option,
    rows,
    text_of,
    whole_id,
)
from reworker.clock import iso
from reworker.core.tasks.firing import Missed, ScheduleStatus
from reworker.core.tasks.schedule_requests import ChangedSchedule, NewSchedule
from reworker.core.tasks.views import Schedule
from reworker.logs import escaped
from reworker.task_errors import TaskRefused

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def schedule() -> None:
    """Schedules: tasks of codes at a time, every so often, or by a cron expression."""


def schedule_options(function: F) -> F:
    """Add what a schedule is made of; None is what was not given."""
    for option in (
        click.option(
            "--payload", metavar="TEXT", help="Of each task; @FILE reads it, @- from standard input."
        ),
        click.option("--cron", metavar="'M H D M W'", help="Minute, hour, day, month, day of the week."),
        click.option("--time-zone", metavar="ZONE", help="Of --cron, such as Europe/Berlin.  [default: UTC]"),
        click.option(
            "--every", "run_every_s", callback=length, metavar="TIME", help="Between two tasks, 1m at least."
        ),
        click.option(
            "--at", "start_at", callback=moment, metavar="TIME", help="When it begins.  [default: now]"
        ),
        click.option(
            "--until", "end_at", callback=moment, metavar="TIME", help="When it ends.  [default: never]"
        ),
        click.option(
            "--times", "run_times", type=click.IntRange(0), help="Tasks in all; 0 is without limit."
        ),
        click.option(
            "--missed",
            type=click.Choice([str(one) for one in Missed]),
            help="For moments when no core ran: one task for all, none, or one for each.  [default: once]",
        ),
        click.option("--priority", type=click.IntRange(0, 2), help="Of its tasks.  [default: the code's]"),
        click.option(
            "--timeout", "timeout_s", callback=length, metavar="TIME", help="Of its tasks.  [default: 1h]"
        ),
        click.option("--label", help="Of its tasks."),
    ):
        function = option(function)
    return function


#: field that a refusal names -> option of a command.
_OPTIONS = {
    **{"run_every": "--every", "cron": "--cron", "time_zone": "--time-zone", "run_times": "--times"},
    **{"start_at": "--at", "end_at": "--until", "delay": "--in", "timeout": "--timeout"},
}


@contextmanager
def _by_option() -> Iterator[None]:
    """Have a refusal of the block name the option that was typed."""
    try:
        yield
    except TaskRefused as error:
        raise TaskRefused(error.reason, field=_OPTIONS.get(error.field, error.field)) from error


def _asked(values: dict[str, Any]) -> dict[str, Any]:
    if values.get("payload") is not None:
        values["payload"] = text_of(values["payload"], "--payload")
    return values


@schedule.command()
@click.argument("name", shell_complete=complete_code)
@click.option("--in", "delay_s", callback=length, metavar="TIME", help="It begins in so long.")
@schedule_options
@project_option
@core_option
@output_option
def add(name: str, project: str, db: str, output: str, **values: Any) -> None:
    """Make a schedule of the code NAME and print its id; without --cron and --every it makes one task."""
    if values["time_zone"] and not values["cron"]:
        raise click.UsageError("--time-zone says which clocks --cron means; give --cron too")
    with opened_work(db) as work, _by_option():
        found = code_meant(work, project, name)
        own = {"code": found.name, "project": found.project_id}
        row = work.add_schedule(made(NewSchedule, **own, **_asked(values)))
    if output == "json":
        click.echo(json_line(row))
        return
    click.echo(row.id)
    click.echo(f"reworker: the first task comes {_moment(row.next_at)}", err=True)


@schedule.command()
@click.option(
    "--status",
    default="",
    type=click.Choice(["", *map(str, ScheduleStatus)]),
    help="Only those in this status.",
)
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1))
@any_project_option
@core_option
@output_option
def ls(status: str, limit: int, project: str, db: str, output: str) -> None:
    """List schedules, newest first."""
    with opened_work(db) as work:
        for one in rows(work.schedules(project, status), limit):
            click.echo(json_line(one) if output == "json" else escaped(_line(one)))


def _line(one: Schedule) -> str:
    count = f"{one.run_count} of {one.run_times}" if one.run_times else f"{one.run_count}"
    why = f"  ({one.message})" if one.message else ""
    following = f"next {_moment(one.next_at)}" if one.next_at else str(one.status)
    return f"{one.id}  {one.project} / {one.code}  {rhythm(one)}  {count} made  {following}{why}"


def rhythm(one: Schedule) -> str:
    """Return when a schedule makes tasks, in words."""
    if one.cron:
        return f"cron '{one.cron}' {one.time_zone or 'UTC'}"
    return f"every {one.run_every_s:g} s" if one.run_every_s else "once"


def _moment(at: datetime | None) -> str:
    return iso(at) if at else "never"


@schedule.command()
@click.argument("schedule_id", metavar="ID")
@core_option
@output_option
def show(schedule_id: str, db: str, output: str) -> None:
    """Show schedule ID."""
    with opened_work(db) as work:
        one = work.schedule(whole_id("schedule", schedule_id))
    if output == "json":
        click.echo(json_line(one))
        return
    click.echo(escaped(_line(one)))
    moments = (("begins", one.start_at), ("ends", one.end_at), ("last task", one.last_at))
    click.echo("; ".join(f"{name} {iso(at)}" for name, at in moments if at))
    click.echo(
        escaped(f"missed moments: {one.missed}; made by {one.actor or 'nobody'} {iso(one.created_at)}")
    )
    for line in one.payload.splitlines():
        click.echo(escaped(f"payload: {line}"))


@schedule.command()
@click.argument("schedule_id", metavar="ID")
@schedule_options
@core_option
@output_option
def change(schedule_id: str, db: str, output: str, **values: Any) -> None:
    """Change schedule ID; what is not given stays."""
    asked = made(ChangedSchedule, **_asked(values))
    if asked == ChangedSchedule():
        raise click.UsageError("say what is to be changed; `reworker schedule change --help` lists it")
    with opened_work(db) as work, _by_option():
        found = work.change_schedule(whole_id("schedule", schedule_id), asked)
    click.echo(json_line(found) if output == "json" else escaped(_line(found)))


@schedule.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@core_option
def cancel(ids: tuple[str, ...], db: str) -> None:
    """Make no more tasks of schedules; those that were made go on."""
    with opened_work(db) as work:
        for one in ids:
            found = work.cancel_schedule(whole_id("schedule", one))
            click.echo(f"{found.id} {found.status}")
