"""``reworker task``: runs of codes, queued, followed, ended and tried again."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import click

from reworker.cli.asked_work import AskedWork, Wanted
from reworker.cli.main import EXIT_CANCELLED, EXIT_DETACHED, EXIT_FAILED, EXIT_OK
from reworker.cli.options import core_option, output_option
from reworker.cli.unstarted import Unstarted, line_of
from reworker.cli.wiring import opened_work
from reworker.cli.work_options import (
    any_project_option,
    code_meant,
    complete_code,
    json_line,
    length,
    made,
    project_option,
    text_of,
    whole_id,
)
from reworker.clock import SystemClock, iso
from reworker.core.tasks.outcomes import TaskStatus
from reworker.core.tasks.requests import NewTask
from reworker.core.tasks.views import Task
from reworker.logs import escaped
from reworker.task_errors import ThingNotFound

#: seconds between two looks at a task that is followed.
LOOK_S = 0.3
#: seconds within which a task that failed has another one for its next try.
RETRY_LOOK_S = 1.5
#: characters of what a task says of itself in a line about it; `task show` has all.
REASON_CHARACTERS = 80
STATUSES = click.Choice([str(one) for one in TaskStatus])


@click.group()
def task() -> None:
    """Tasks: runs of code packages."""


@task.command()
@click.argument("name", shell_complete=complete_code)
@click.option(
    "--payload",
    default="",
    metavar="TEXT",
    help="Text for its process; @FILE reads it, @- from standard input.",
)
@click.option(
    "--priority", type=click.IntRange(0, 2), help="A higher one is started first.  [default: the code's]"
)
@click.option(
    "--delay", "delay_s", callback=length, metavar="TIME", help="Start it no sooner than in so long."
)
@click.option(
    "--timeout", "timeout_s", callback=length, metavar="TIME", help="It may run so long.  [default: 1h]"
)
@click.option("--label", default="", help="To find it by.")
@click.option("--count", type=click.IntRange(1, 1000), default=1, show_default=True, help="So many of them.")
@click.option(
    "--wait",
    "is_waited",
    is_flag=True,
    help="Print its output until it has ended; exit code 1 if it failed, 3 if it was cancelled.",
)
@project_option
@core_option
@output_option
def queue(
    name: str, payload: str, *, is_waited: bool, project: str, db: str, output: str, **values: Any
) -> None:
    """Queue a task of the code NAME and print its id."""
    count = values.pop("count")
    if is_waited and count > 1:
        raise click.UsageError("--wait is for one task; `reworker task log -f ID` follows each of several")
    text = text_of(payload, "--payload")
    with opened_work(db) as work:
        found = code_meant(work, project, name)
        asked = made(NewTask, code=found.name, payload=text, **values)
        queued = work.queue(found.project_id, [asked] * count)
        if is_waited:
            click.echo(queued[0].id, err=True)
            sys.exit(_awaited(work, queued[0].id, output))
    for one in queued:
        click.echo(json_line(one) if output == "json" else one.id)


@task.command()
@click.option(
    "--code", default="", metavar="NAME", shell_complete=complete_code, help="Only those of this code."
)
@click.option(
    "--status",
    "statuses",
    type=STATUSES,
    multiple=True,
    help="Only those in this status; repeat it for more.",
)
@click.option("--label", default="", help="Only those with this label.")
@click.option("--schedule", default="", metavar="ID", help="Only those that this schedule has made.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@any_project_option
@core_option
@output_option
def ls(db: str, output: str, **wanted: Any) -> None:
    """List tasks, newest first."""
    with opened_work(db) as work:
        for one in work.tasks(made(Wanted, **wanted)):
            click.echo(json_line(one) if output == "json" else escaped(_line(one)))


def _line(one: Task) -> str:
    took = f"  {one.took_s:.1f} s" if one.took_s is not None else f"  {one.percent} %" if one.percent else ""
    label = f"  [{one.label}]" if one.label else ""
    reason = " ".join(one.message.split())
    shown = reason if len(reason) <= REASON_CHARACTERS else f"{reason[: REASON_CHARACTERS - 3]}..."
    why = f"  ({shown})" if reason else ""
    return f"{one.id}  {iso(one.created_at)}  {one.status:<9}  {one.project} / {one.code}{label}{took}{why}"


@task.command()
@click.argument("task_id", metavar="ID")
@core_option
@output_option
def show(task_id: str, db: str, output: str) -> None:
    """Show task ID: how it stands, its payload with masks for secrets, what it belongs to."""
    with opened_work(db) as work:
        found = work.task(whole_id("task", task_id))
    if output == "json":
        click.echo(json_line(found))
        return
    for line in facts_of(found):
        click.echo(escaped(line))


def facts_of(one: Task) -> Iterable[str]:
    """Yield the lines of `task show`."""
    yield _line(one)
    who = one.actor or "nobody"
    yield f"revision {one.rev}, priority {one.priority}, timeout {one.timeout_s:g} s, queued by {who}"
    moments = (("due", one.due_at), ("started", one.started_at), ("ended", one.ended_at))
    yield "; ".join(f"{name} {iso(at)}" for name, at in moments if at)
    if len(one.message) > REASON_CHARACTERS:
        yield from (f"says: {line}" for line in one.message.splitlines())
    if one.schedule_id:
        yield f"made by schedule {one.schedule_id}"
    if one.original_id:
        yield f"try {one.retry_no} after task {one.original_id}"
    if one.retry_task_id:
        yield f"tried again by task {one.retry_task_id}"
    if one.has_deployment and not one.is_over:
        yield f"what its worker said of it: reworker show {one.id}"
    yield from (f"payload: {line}" for line in (one.payload or "").splitlines())


@task.command()
@click.argument("task_id", metavar="ID")
@click.option(
    "-f", "--follow", is_flag=True, help="Go on until the task has ended; exit codes as of `queue --wait`."
)
@core_option
def log(task_id: str, follow: bool, db: str) -> None:
    """Print what task ID has written, exactly; on a terminal control characters are shown as such."""
    with opened_work(db) as work:
        own_id = whole_id("task", task_id)
        if follow:
            sys.exit(_awaited(work, own_id, "text"))
        last_no = _print_output(work, own_id, 0)
        if not last_no and not (found := work.task(own_id)).is_over:
            click.echo(f"reworker: it has written nothing yet: task {own_id} is {found.status}", err=True)


@task.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@core_option
def cancel(ids: tuple[str, ...], db: str) -> None:
    """End tasks: those that wait at once, those that run as soon as their worker hears of it."""
    with opened_work(db) as work:
        for one in ids:
            found = work.cancel_task(whole_id("task", one))
            is_late = found.is_over and found.status != TaskStatus.CANCELLED
            click.echo(f"{found.id} " + (f"is over: {found.status}" if is_late else "cancelled"))


@task.command()
@click.argument("task_id", metavar="ID")
@click.option(
    "--delay",
    "delay_s",
    callback=length,
    metavar="TIME",
    default="0",
    help="Start it no sooner than in so long.",
)
@click.option("--wait", "is_waited", is_flag=True, help="As of `queue`.")
@core_option
@output_option
def retry(task_id: str, delay_s: float, is_waited: bool, db: str, output: str) -> None:
    """Queue task ID anew, with the newest revision of its code, and print the id of the new one."""
    with opened_work(db) as work:
        found = work.retry_task(whole_id("task", task_id), delay_s)
        if is_waited:
            click.echo(found.id, err=True)
            sys.exit(_awaited(work, found.id, output))
    click.echo(json_line(found) if output == "json" else found.id)


def _awaited(work: AskedWork, task_id: str, output: str) -> int:
    """Follow a task, and those that try it again, to the end; return the exit code that tells how it went."""
    try:
        found = _followed(work, task_id, output)
        while found.status == TaskStatus.ERROR and (again := _tried_again(work, found)):
            click.echo(escaped(f"{_line(found)}; goes on as {again}"), err=True)
            found = _followed(work, again, output)
    except KeyboardInterrupt:
        click.echo(f"reworker: detached; the task goes on: reworker task log -f {task_id}", err=True)
        return EXIT_DETACHED
    if output == "json":
        click.echo(json_line(found))
    else:
        click.echo(escaped(_line(found)), err=True)
    if found.status == TaskStatus.COMPLETE:
        return EXIT_OK
    return EXIT_CANCELLED if found.status == TaskStatus.CANCELLED else EXIT_FAILED


def _followed(work: AskedWork, task_id: str, output: str) -> Task:
    pause, seen_no, unstarted, clock = threading.Event(), 0, Unstarted(), SystemClock()
    while True:
        found = work.task(task_id)
        if unstarted.is_due(found, now := clock.now()):
            click.echo(f"reworker: {line_of(found, now, is_paused=_is_paused(work, found))}", err=True)
        if output == "text":
            seen_no = _print_output(work, task_id, seen_no)
        if found.is_over:
            break
        pause.wait(LOOK_S)
    if output == "text":  # the last lines come a moment after the end
        pause.wait(LOOK_S)
        _print_output(work, task_id, seen_no)
    return found


def _is_paused(work: AskedWork, task: Task) -> bool:
    with suppress(ThingNotFound):  # a code that was deleted
        return work.code(task.code_id).is_paused
    return False


def _tried_again(work: AskedWork, failed: Task) -> str:
    """Return the task that tries one again; it is there a moment after the failure, or never."""
    if not work.code(failed.code_id).retries > failed.retry_no:
        return ""
    threading.Event().wait(RETRY_LOOK_S)
    return work.task(failed.id).retry_task_id


def _print_output(work: AskedWork, task_id: str, after_no: int) -> int:
    pieces, last_no = work.output(task_id, after_no)
    is_terminal = sys.stdout.isatty()
    for piece in pieces:
        click.echo("\n".join(map(escaped, piece.split("\n"))) if is_terminal else piece, nl=False)
    return last_no
