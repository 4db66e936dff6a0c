"""``reworker conformance``: plays the core against a worker in any language, and says what it supports."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from reworker.cli.main import EXIT_FAILED, EXIT_OK
from reworker.cli.options import mq_option
from reworker.errors import ConfigError, MessageError
from reworker.logs import escaped

if TYPE_CHECKING:
    from reworker.config import MqSettings
    from reworker.conformance.kit import Check
    from reworker.conformance.orders import Orders
    from reworker.conformance.report import Finding, Report

F = TypeVar("F", bound=Callable[..., Any])

#: the good step, unless somebody says: what workers of one step often call it.
DEFAULT_PARAMETERS: Mapping[str, Any] = {"subcommand": "Run"}
#: seconds for anything that a worker does at once, and that a long step takes.
TIMEOUT_S, LONG_S = 10.0, 3.0
#: columns for the name of a check.
NAME_WIDTH, SUPPORT_WIDTH = 28, 15


def _parameters_option(name: str, help_text: str) -> Callable[[F], F]:
    return click.option(name, metavar="FILE_OR_JSON", help=help_text)


@click.command()
@click.option("--queue", required=True, help="Queue of the worker, for example worker.frob.")
@mq_option
@click.option("--command", help="Command of its steps; else taken from the queue or the parameters.")
@_parameters_option("--parameters", "Parameters of a step that ends well, with its subcommand.")
@_parameters_option("--fail-parameters", "Parameters of a step that fails.")
@_parameters_option("--bad-parameters", "Parameters to be refused; else the good ones without its own.")
@_parameters_option("--long-parameters", "Parameters of a step that runs some seconds.")
@click.option(
    "--long-s", default=LONG_S, show_default=True, type=click.FloatRange(0.1), help="How many seconds."
)
@click.option(
    "--timeout-s",
    default=TIMEOUT_S,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Seconds that anything else may take.",
)
@click.option(
    "--kill-pid", type=click.IntRange(2), help="Process of the worker: killed in a long step at the end."
)
@click.option(
    "--stop-pid", type=click.IntRange(2), help="Process of the worker: stopped in a long step at the end."
)
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object.")
def conformance(mq: str, kill_pid: int | None, stop_pid: int | None, is_json: bool, **order: Any) -> None:
    """Drive a worker in any language as a core does, and print what it supports.

    It runs real steps on the worker. Nobody else may use the queue meanwhile. Exit codes: 0 all that level 1
    requires is supported; 1 something is not; 2 the command was wrong; 5 the broker is away.
    """
    from reworker.config import mq_settings, with_password_of
    from reworker.conformance.endings import send_signal
    from reworker.conformance.kit import checks_of
    from reworker.conformance.report import Report

    if kill_pid and stop_pid:
        raise click.UsageError("give --kill-pid or --stop-pid: each of them ends the worker")
    for pid in filter(None, (kill_pid, stop_pid)):
        send_signal(pid, 0)
    timeout_s = order.pop("timeout_s")
    orders = _orders(**order)
    settings = with_password_of(mq_settings(mq), os.environ)
    checks = checks_of(kill_pid=kill_pid, stop_pid=stop_pid)
    findings = _drive(settings, orders, checks, timeout_s, is_json=is_json)
    report = Report(orders.queue, findings)
    click.echo(_json(report) if is_json else _last_lines(report))
    sys.exit(EXIT_OK if report.is_worker else EXIT_FAILED)


def _drive(
    settings: MqSettings, orders: Orders, checks: tuple[Check, ...], timeout_s: float, *, is_json: bool
) -> list[Finding]:
    """Run the checks; print each at once, unless all are to be one object."""
    from reworker.cli.wiring import connected_bus
    from reworker.clock import SystemClock
    from reworker.conformance.desk import Desk
    from reworker.conformance.endings import withdraw
    from reworker.conformance.kit import Kit
    from reworker.conformance.stand import Stand

    with connected_bus(settings, name="reworker conformance") as bus:
        desk = Desk(bus, SystemClock())
        desk.open()
        stand = Stand(desk, orders, settings, timeout_s)
        if stand.counts() is None:
            reason = f"there is no queue {orders.queue} on {settings.masked_url()}; start the worker first"
            raise ConfigError(reason, key="--queue")
        try:
            return Kit(stand, checks, (lambda _: None) if is_json else _show).run()
        finally:
            if (stand.counts() or None) is not None:
                withdraw(settings, orders.queue, set(desk.talks))


def _orders(
    *,
    queue: str,
    command: str | None,
    parameters: str | None,
    fail_parameters: str | None,
    bad_parameters: str | None,
    long_parameters: str | None,
    long_s: float,
) -> Orders:
    from reworker.conformance.orders import COMMON, Orders
    from reworker.topology.names import WORKER_PREFIX, commands_of

    good = _read("--parameters", parameters) or DEFAULT_PARAMETERS
    bad = _read("--bad-parameters", bad_parameters)
    if bad is None and set(good) - COMMON:
        bad = {name: value for name, value in good.items() if name in COMMON}
    suffix = queue.removeprefix(WORKER_PREFIX)
    return Orders(
        queue=queue,
        command=command or str(good.get("command", "")) or commands_of(suffix)[-1],
        good=good,
        fail=_read("--fail-parameters", fail_parameters),
        bad=bad,
        long=_read("--long-parameters", long_parameters),
        long_s=long_s,
    )


def _read(option: str, value: str | None) -> dict[str, Any] | None:
    """Return the object that an option holds, or the file that it names.

    Raises:
        ConfigError: no such file, or no JSON object in it.
    """
    from reworker.messages import decode_object

    if value is None:
        return None
    try:
        return decode_object(value if value.lstrip()[:1] == "{" else Path(value).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"expected a JSON object or a file: {error}", key=option) from error
    except MessageError as error:
        raise ConfigError(str(error), key=option) from error


def _show(finding: Finding) -> None:
    """Print what one check found, in one line, and what to do below it."""
    name = f"{finding.check:<{NAME_WIDTH}}"
    click.echo(escaped(f"{finding.support.value:<{SUPPORT_WIDTH}}{finding.level}  {name}{finding.seen}"))
    if finding.advice:
        click.echo(escaped(f"{'':<{SUPPORT_WIDTH}}-> {finding.advice}"))


def _last_lines(report: Report) -> str:
    lines = []
    for level in (1, 2):
        supported, missing, unknown = report.counts(level)
        lines.append(f"level {level}: {supported} supported, {missing} not supported, {unknown} not tried")
    if report.missing:
        lines.append(f"it is no worker without: {', '.join(report.missing)}")
    elif not report.is_worker:
        lines.append("nothing was seen of it")
    return "\n".join(lines)


def _json(report: Report) -> str:
    rows = [msgspec.to_builtins(one) for one in report.findings]
    return json.dumps(
        {"queue": report.queue, "is_worker": report.is_worker, "missing": report.missing, "findings": rows}
    )
