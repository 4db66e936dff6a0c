"""``reworker ls``, ``show`` and ``logs``: what is and what was."""

from __future__ import annotations

import json
import threading
from typing import Any

import click

from reworker.cli.asked import Asked
from reworker.cli.events import event_line, event_object, with_skips
from reworker.cli.options import core_option, output_option
from reworker.cli.playbooks import show_plan
from reworker.cli.run import summary
from reworker.cli.selection import full_id
from reworker.cli.waits import waits
from reworker.cli.wiring import opened_service
from reworker.clock import iso
from reworker.core.service import AttemptView, DeploymentView, EventView
from reworker.fsm.states import DeploymentStatus
from reworker.logs import escaped
from reworker.storage.rows import DeploymentFilter

STATUS = click.Choice(["", *map(str, DeploymentStatus)])
#: seconds between two looks for new lines of output.
POLL_S = 0.2


@click.command()
@core_option
@output_option
@click.option("--status", default="", type=STATUS, help="Only deployments in this status.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--tasks", "has_tasks", is_flag=True, help="With the tasks of code packages.")
def ls(db: str, output: str, status: str, limit: int, has_tasks: bool) -> None:
    """List deployments, newest first."""
    wanted = DeploymentFilter(is_task=None if has_tasks else False)
    with opened_service(db) as service:
        for one in service.now(service.deployments(limit=limit, status=status, wanted=wanted)):
            if output == "json":
                click.echo(json.dumps(deployment_object(one)))
            else:
                at = iso(one.row.created_at)
                name = f"{one.row.group} / {one.row.name}"
                click.echo(escaped(f"{one.row.id}  {at}  {one.state.status:<10}  {name}{_why(one)}"))


def _why(view: DeploymentView) -> str:
    """Return what a deployment that is not over waits for."""
    return "" if view.is_over or not view.state.reason else f"  ({view.state.reason})"


@click.command()
@click.argument("deployment")
@core_option
@output_option
@click.option(
    "--plan", "is_planned", is_flag=True, help="Show its plan instead, as it was frozen at the start."
)
def show(deployment: str, db: str, output: str, is_planned: bool) -> None:
    """Show DEPLOYMENT: its state, what it waits for, every event."""
    with opened_service(db) as service:
        own_id = full_id(service, deployment)
        (found,), plan = service.now([service.deployment(own_id)]), service.plan(own_id)
        if is_planned:
            show_plan(plan, service.rules_of(own_id), output)
            return
        attempts = _all_attempts(service, own_id)
        events = _all_events(service, own_id)
    numbered = {one.row.number: one for one in attempts}
    if output == "json":
        whole = {
            **deployment_object(found),
            "waits": waits(found, plan, db),
            "attempts": [attempt_object(one) for one in attempts],
            "events": [event_object(event, numbered) for event in events],
        }
        click.echo(json.dumps(whole))
        return
    click.echo(escaped(f"{found.row.group} / {found.row.name}, started by {found.row.actor or 'unknown'}"))
    if found.row.playbook_id:
        at = f"@{found.row.playbook_version}" if found.row.playbook_version else ""
        click.echo(f"stored playbook {found.row.playbook_id}{at}")
    if found.row.resumes:
        click.echo(f"goes on with {found.row.resumes}")
    for line in (summary(found), *waits(found, plan, db)):
        click.echo(line)
    for event in with_skips(events, attempts):
        click.echo(event_line(event, numbered))


@click.command()
@click.argument("deployment")
@core_option
@output_option
@click.option("-f", "--follow", is_flag=True, help="Go on until the deployment has ended.")
def logs(deployment: str, db: str, output: str, follow: bool) -> None:
    """Print the lines of output of DEPLOYMENT."""
    pause = threading.Event()
    with opened_service(db) as service:
        deployment, seen = full_id(service, deployment), 0
        while True:
            is_over = service.deployment(deployment).is_over
            seen = _print_lines(service, deployment, seen, output)
            if is_over or not follow:
                return
            pause.wait(POLL_S)


def deployment_object(view: DeploymentView) -> dict[str, Any]:
    """Return a deployment for scripts."""
    row, state = view.row, view.state
    failure = state.failure
    return {
        "id": row.id,
        "group": row.group,
        "name": row.name,
        "status": str(state.status),
        "playbook_id": row.playbook_id,
        "playbook_version": row.playbook_version,
        "resumes": row.resumes,
        "actor": row.actor,
        "created_at": iso(row.created_at),
        "ended_at": iso(state.ended_at) if state.ended_at else None,
        "steps": row.step_count,
        "completed": state.completed_count,
        "skipped": state.skipped_count,
        "reason": state.reason,
        "failure": {"host": failure.host, "step": failure.step, "reason": failure.reason}
        if failure
        else None,
    }


def attempt_object(view: AttemptView) -> dict[str, Any]:
    """Return an attempt for scripts."""
    row = view.row
    return {
        "number": row.number,
        "role": row.role,
        "index": row.step_index,
        "host": row.host,
        "step": row.step,
        "status": row.status,
        "tries": row.tries,
        "domain": row.domain,
        "worker": row.worker,
        "message": row.message,
        "data": view.data,
        "started_at": iso(row.started_at) if row.started_at else None,
        "ended_at": iso(row.ended_at) if row.ended_at else None,
    }


def _print_lines(service: Asked, deployment: str, seen: int, output: str) -> int:
    while lines := service.log_lines(deployment, after_no=seen):
        for line in lines:
            if output == "json":
                entry = {"no": line.no, "attempt": line.attempt, "at": iso(line.at), "text": line.text}
                click.echo(json.dumps(entry))
            else:
                click.echo(escaped(f"{iso(line.at)}  {line.attempt:>4}  {line.text}"))
        seen = lines[-1].no
    return seen


def _all_attempts(service: Asked, deployment: str) -> list[AttemptView]:
    found: list[AttemptView] = []
    while page := service.attempts(deployment, after_number=found[-1].row.number if found else 0):
        found += page
    return found


def _all_events(service: Asked, deployment: str) -> list[EventView]:
    found: list[EventView] = []
    while page := service.events(deployment, after_seq=found[-1].seq if found else 0):
        found += page
    return found
