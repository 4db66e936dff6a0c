"""``reworker run`` and ``reworker watch``: start a deployment, follow one to its end."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from reworker.cli.asked import Asked
from reworker.cli.completion import complete_pair
from reworker.cli.domain_option import domain_option
from reworker.cli.events import with_skips
from reworker.cli.main import EXIT_CANCELLED, EXIT_DETACHED, EXIT_FAILED, EXIT_OK, EXIT_WAITING
from reworker.cli.options import Pairs, core_option, dynamic_options, output_option, user_name
from reworker.cli.params import Chosen, complete_playbook, is_stored, stored_playbook
from reworker.cli.playbooks import parse_or_exit, read_playbook
from reworker.cli.progress import view_for
from reworker.cli.selection import full_id
from reworker.cli.untaken import Untaken
from reworker.cli.waits import counted, db_words, place, waits
from reworker.cli.wiring import name_of_database, opened_service
from reworker.clock import SystemClock
from reworker.core import parameters
from reworker.core.service import AttemptView, DeploymentView
from reworker.core.submission import Terms
from reworker.fsm.domains import ByCommand
from reworker.fsm.plan import Plan
from reworker.fsm.states import AttemptStatus, DeploymentStatus
from reworker.logs import escaped

#: seconds a step may stand unsent before the user is told to look for a core.
NO_CORE_S = 3.0

EXIT_CODES = {
    DeploymentStatus.COMPLETED: EXIT_OK,
    DeploymentStatus.FAILED: EXIT_FAILED,
    DeploymentStatus.ROLLED_BACK: EXIT_FAILED,
    DeploymentStatus.ROLLBACK_FAILED: EXIT_FAILED,
    DeploymentStatus.CANCELLED: EXIT_CANCELLED,
    DeploymentStatus.WAITING: EXIT_WAITING,
}


def terms_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add how a deployment is asked for, which becomes `terms`."""

    @wraps(function)
    def command(*, reason: str, unattended: bool, key: str, domains: ByCommand, **others: Any) -> None:
        terms = Terms(key, is_unattended=unattended, reason=reason, domains=domains)
        function(terms=terms, **others)

    options = (
        click.option("--key", default="", help="Idempotency key: the same key starts one deployment only."),
        click.option("--unattended", is_flag=True, help="Nobody can be asked: a doubt fails the deployment."),
        click.option("--reason", default="", help="Why; kept in the history."),
        domain_option,
    )
    for one in options:
        command = one(command)
    return command


@click.command()
@click.argument("playbook", shell_complete=complete_playbook)
@dynamic_options(complete_pair)
@core_option
@output_option
@terms_options
@click.option("--detach", is_flag=True, help="Print the id and return at once.")
def run(
    playbook: str,
    dynamic: Pairs,
    db: str,
    output: str,
    terms: Terms,
    detach: bool,
) -> None:
    """Run PLAYBOOK and follow it to its end; `reworker params PLAYBOOK` says which values it takes.

    PLAYBOOK is a file, or - for standard input, or the id of a stored playbook.

    Ctrl-C stops following, not the deployment. Exit codes: 0 completed, 1 failed, 2 wrong input,
    3 cancelled, 4 waits for a person, 5 unreachable, 130 stopped following.
    """
    # a file is read first: who made a mistake in it should not have to start a core to learn that
    chosen = None if is_stored(playbook) else Chosen(read_playbook(playbook))
    parsed = chosen and parse_or_exit(chosen.text, playbook)
    with opened_service(db) as service:
        chosen = chosen or stored_playbook(service, playbook)
        parsed = parsed or parse_or_exit(chosen.text, playbook)
        deployment_id = service.begin(
            chosen.text.decode("utf-8-sig"),
            parameters.as_typed(parsed, dynamic, dynamic.texts),
            actor=user_name(),
            terms=terms,
            playbook_id=chosen.id,
            source=playbook,
        )
        if detach:
            click.echo(deployment_id)
            return
        sys.exit(follow(service, deployment_id, output, db))


@click.command()
@click.argument("deployment")
@core_option
@output_option
def watch(deployment: str, db: str, output: str) -> None:
    """Follow DEPLOYMENT to its end; exit codes as for `run`."""
    with opened_service(db) as service:
        sys.exit(follow(service, full_id(service, deployment), output, db))


def follow(service: Asked, deployment_id: str, output: str, db: str) -> int:
    """Show a deployment until it ends or waits for a person; return the exit code.

    Args:
        service: on the database.
        deployment_id: to follow.
        output: ``text`` or ``json``.
        db: the database's URL, for what the user is told to call next.

    Raises:
        DeploymentNotFound: no such deployment.
    """
    plan = service.plan(deployment_id)
    try:
        now = _watch(service, deployment_id, plan, output, db)
        if output != "json":
            click.echo("\n".join((summary(now), *waits(now, plan, db))))
    except (KeyboardInterrupt, BrokenPipeError) as error:
        if isinstance(error, BrokenPipeError):
            _silence()
        click.echo(_farewell(service.deployment(deployment_id), db), err=True)
        return EXIT_DETACHED
    return EXIT_CODES.get(now.state.status, EXIT_OK)


def _silence() -> None:
    """Let what is still to be written go nowhere: who was reading, such as `head`, has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _farewell(view: DeploymentView, db: str) -> str:
    call, state = f"{view.row.id}{db_words(db)}", view.state
    is_untouched = state.attempt_count == len(state.attempts) and _is_unsent(view)
    if not view.is_over and is_untouched:
        return f"\ndetached; it waits for a core. To withdraw it: reworker cancel {call}"
    return f"\ndetached; it goes on. To follow again: reworker watch {call}"


def summary(view: DeploymentView) -> str:
    """Return how a deployment stands, in one line."""
    state, row = view.state, view.row
    reason = f": {state.reason}" if state.reason else ""
    if state.failure is not None:
        failure = state.failure
        what = f"{failure.step}{place(failure.host)}: " if failure.step else ""
        back = f"; rollback: {state.rollback_failure}" if state.rollback_failure else ""
        taken = f" ({counted(state.rolled_back_count, 'step')} taken back)" if state.rolled_back_count else ""
        return escaped(f"{row.id} {state.status}: {what}{failure.reason}{taken}{back}")
    if state.status is DeploymentStatus.WAITING:
        return escaped(f"{row.id} waits for a person{reason}")
    took = ""
    if state.ended_at and state.started_at:
        took = f" in {(state.ended_at - state.started_at).total_seconds():.1f} s"
    steps = f"{state.completed_count} of {counted(row.step_count, 'step')}"
    return escaped(f"{row.id} {state.status}: {steps}{took}{reason}")


def _watch(service: Asked, deployment_id: str, plan: Plan, output: str, db: str) -> DeploymentView:
    attempts: dict[int, AttemptView] = {}
    seen, idle_count, pause = 0, 0, threading.Event()
    untaken = Untaken(plan, SystemClock())
    with view_for(output, plan) as view:
        while True:
            now = service.deployment(deployment_id)
            events = service.events(deployment_id, after_seq=seen)
            newer: list[AttemptView] = []
            if events:
                newer = service.attempts(deployment_id, after_number=next(reversed(attempts), 0))
                attempts.update((one.row.number, one) for one in newer)
            view.update(now.state, events if output == "json" else with_skips(events, newer), attempts)
            seen = events[-1].seq if events else seen
            is_waiting = now.state.status is DeploymentStatus.WAITING
            if seen >= now.row.last_seq and (now.is_over or is_waiting):
                return now
            idle_count = idle_count + 1 if not events and _is_unsent(now) else 0
            if idle_count == round(NO_CORE_S / service.look_s):
                where = name_of_database(db)
                view.note(f"no core has taken the step yet; is `reworker core` running on {where}?")
            for line in untaken.notes(now.state):
                view.note(line)
            pause.wait(service.look_s)


def _is_unsent(view: DeploymentView) -> bool:
    return any(attempt.status is AttemptStatus.READY for attempt in view.state.attempts)
