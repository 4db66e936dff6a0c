"""``reworker cancel``, ``pause``, ``resume``, ``approve``, ``refuse``, ``decide``: what people say to do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import click

from reworker.cli.asked import Asked
from reworker.cli.main import EXIT_FAILED
from reworker.cli.options import Pairs, core_option, dynamic_option, user_name
from reworker.cli.playbooks import parse_or_exit, read_playbook
from reworker.cli.run import follow
from reworker.cli.selection import full_id
from reworker.cli.waits import counted
from reworker.cli.wiring import opened_service
from reworker.core import parameters
from reworker.core.batch import Applied, Result
from reworker.core.resumption import Scope
from reworker.fsm import ranges
from reworker.fsm.events import Decision

reason_option = click.option("--reason", default="", help="Why; kept in the history.")


@click.command()
@click.argument("deployment")
@core_option
@reason_option
def cancel(deployment: str, db: str, reason: str) -> None:
    """End DEPLOYMENT: its running steps are told to stop, the rest is not started."""
    with opened_service(db) as service:
        _report(service.cancel(full_id(service, deployment), actor=user_name(), reason=reason), "cancelling")


@click.command()
@click.argument("deployment")
@core_option
@reason_option
def pause(deployment: str, db: str, reason: str) -> None:
    """Start no further step of DEPLOYMENT until it is resumed."""
    with opened_service(db) as service:
        _report(service.pause(full_id(service, deployment), actor=user_name(), reason=reason), "paused")


def scope_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add ``--from`` and ``--hosts``, which become a `Scope`."""

    @wraps(function)
    def with_scope(*, start: str, hosts: str, **others: Any) -> None:
        names = tuple(filter(None, (name.strip() for name in hosts.split(","))))
        function(scope=Scope(start, names), **others)

    start_help = "Begin here, whatever was done: a number of `plan`, an id, or COMMAND:SUBCOMMAND[@HOST]."
    hosts_help = "Only these hosts; 'failed' are those on which a step failed."
    start = click.option("--from", "start", metavar="STEP", default="", help=start_help)
    return start(click.option("--hosts", metavar="HOST,...", default="", help=hosts_help)(with_scope))


@click.command()
@click.argument("deployment")
@click.argument("playbook", required=False)
@dynamic_option
@scope_options
@click.option("--follow", "is_followed", is_flag=True, help="Follow it to its end; exit codes as for `run`.")
@reason_option
@core_option
def resume(
    deployment: str,
    playbook: str | None,
    dynamic: Pairs,
    scope: Scope,
    is_followed: bool,
    reason: str,
    db: str,
) -> None:
    """Go on with DEPLOYMENT: after a pause, or after it failed or was cancelled.

    One that has ended goes on as a new deployment, which passes over the steps that were done; its id is
    printed. With PLAYBOOK it follows the edited playbook: steps that were done must read as they did.
    """
    with opened_service(db) as service:
        own_id = full_id(service, deployment)
        if service.deployment(own_id).is_over:
            text, values = _edited(playbook, dynamic)
            own_id = service.retry(
                own_id,
                scope,
                text=text,
                dynamic=values,
                actor=user_name(),
                reason=reason,
                source=playbook or "playbook",
            )
            click.echo(own_id)
            click.echo(_begun(service, own_id), err=True)
        else:
            _refuse_edits(playbook, dynamic, scope)
            _report(service.resume(own_id, actor=user_name(), reason=reason), "resumed")
        if is_followed:
            sys.exit(follow(service, own_id, "text", db))


@click.command()
@click.argument("deployment")
@scope_options
@click.option("--again", "is_anew", is_flag=True, help="All of it, with the same text and the same values.")
@click.option("--follow", "is_followed", is_flag=True, help="Follow it to its end; exit codes as for `run`.")
@reason_option
@core_option
def retry(deployment: str, scope: Scope, is_anew: bool, is_followed: bool, reason: str, db: str) -> None:
    """Do again what DEPLOYMENT, which has ended, did not do; `resume` can change the playbook as well."""
    if is_anew and scope != Scope():
        raise click.UsageError("--again does all of it: it takes no --from and no --hosts")
    with opened_service(db) as service:
        deployment = full_id(service, deployment)
        start = service.again if is_anew else partial(service.retry, scope=scope)
        own_id = start(deployment, actor=user_name(), reason=reason)
        click.echo(own_id)
        click.echo(_begun(service, own_id), err=True)
        if is_followed:
            sys.exit(follow(service, own_id, "text", db))


def _edited(playbook: str | None, dynamic: Pairs) -> tuple[str, dict[str, Any]]:
    """Return the text of the edited playbook, or an empty one, and the new values."""
    if playbook is None:
        return "", dict(dynamic)
    text = read_playbook(playbook)
    parsed = parse_or_exit(text, playbook)
    return text.decode("utf-8-sig"), parameters.as_typed(parsed, dynamic, dynamic.texts)


def _refuse_edits(playbook: str | None, dynamic: Pairs, scope: Scope) -> None:
    if playbook or dynamic or scope != Scope():
        reason = "it is not over: PLAYBOOK, -e, --from and --hosts are for deployments that have ended"
        raise click.UsageError(reason)


def _begun(service: Asked, own_id: str) -> str:
    # Not by how it stands: a quick worker has done some of it by now.
    submitted = service.events(own_id)[0].data
    done, left_out = (ranges.count(submitted.get(name, ())) for name in ("done", "left_out"))
    to_do = service.deployment(own_id).row.step_count - done - left_out
    return f"{counted(done, 'step')} done before, {left_out} left out, {to_do} to do"


@click.command()
@click.argument("deployment")
@click.argument("attempt", type=click.IntRange(1), required=False)
@core_option
@reason_option
def approve(deployment: str, attempt: int | None, db: str, reason: str) -> None:
    """Consent to what DEPLOYMENT waits for: ATTEMPT, or all that wait for an approval."""
    with opened_service(db) as service:
        own_id = full_id(service, deployment)
        _report(service.approve(own_id, attempt or 0, actor=user_name(), reason=reason), "approved")


@click.command()
@click.argument("deployment")
@click.argument("attempt", type=click.IntRange(1), required=False)
@core_option
@reason_option
def refuse(deployment: str, attempt: int | None, db: str, reason: str) -> None:
    """Do not consent to what DEPLOYMENT waits for: the step fails."""
    with opened_service(db) as service:
        own_id = full_id(service, deployment)
        _report(service.refuse(own_id, attempt or 0, actor=user_name(), reason=reason), "refused")


def _answer(_ctx: click.Context, _param: click.Parameter, words: tuple[str, ...]) -> tuple[int, Decision]:
    *first, last = words
    if last not in list(Decision):
        raise click.BadParameter(f"{last[:40]!a} is none of {', '.join(Decision)}")
    if len(first) > 1 or not all(one.isdecimal() and int(one[:9]) > 0 for one in first):
        raise click.BadParameter("before the decision stands the number of an attempt, or nothing")
    return int(first[0][:9]) if first else 0, Decision(last)


@click.command()
@click.argument("deployment")
@click.argument("answer", nargs=-1, required=True, callback=_answer, metavar="[ATTEMPT] DECISION")
@core_option
@click.option("--reason", required=True, help="Why; kept in the history.")
def decide(deployment: str, answer: tuple[int, Decision], db: str, reason: str) -> None:
    """Say what became of ATTEMPT of DEPLOYMENT, when nobody else can know.

    DECISION is retry, skip, fail or complete. ATTEMPT may be left out when only one waits.
    """
    attempt, decision = answer
    with opened_service(db) as service:
        own_id = full_id(service, deployment)
        result = service.decide(own_id, attempt, decision, actor=user_name(), reason=reason)
        _report(result, f"decided: {decision}")


def _report(result: Result, done: str) -> None:
    if result.applied is Applied.CHANGED:
        click.echo(done)
        return
    click.echo(f"nothing changed: {result.reason}", err=True)
    sys.exit(EXIT_FAILED)
