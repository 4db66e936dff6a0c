"""``reworker code``: code packages, uploaded, looked at, paused and deleted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from reworker.cli.options import core_option, output_option
from reworker.cli.packing import packed
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
)
from reworker.clock import iso
from reworker.core.tasks.code_settings import CodeSettings
from reworker.core.tasks.options import CONFIG_BYTES, MOST_RETRIES
from reworker.core.tasks.requests import RUNTIMES, NewCode
from reworker.core.tasks.views import Code
from reworker.errors import ConfigError
from reworker.logs import escaped

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def code() -> None:
    """Code packages: scripts and programs in any language, run as tasks by the code worker."""


def _pairs(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, str] | None:
    pairs = {}
    for text in values:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise click.BadParameter(f"{text[:60]!a} is not NAME=VALUE")
        pairs[name] = value
    return pairs or None


def settings_options(function: F) -> F:
    """Add the options of a code; None is one that was not given."""
    for option in (
        click.option("--max-concurrency", type=click.IntRange(0), help="Tasks at once; 0 is without limit."),
        click.option("--retries", type=click.IntRange(0, MOST_RETRIES), help="Further tries after an error."),
        click.option(
            "--retries-delay",
            "retries_delay_s",
            callback=length,
            metavar="TIME",
            help="Before each of these.",
        ),
        click.option("--priority", "default_priority", type=click.IntRange(0, 2), help="Of its tasks."),
        click.option("--config", metavar="FILE", help="Text for each task; - is standard input."),
        click.option(
            *("--env", "env_vars"),
            metavar="NAME=VALUE",
            multiple=True,
            callback=_pairs,
            help="Variable of each task's environment; those that are given replace all.",
        ),
        click.option("--result-queue", metavar="QUEUE", help="Where the result of each task is sent."),
        click.option("--result-url", metavar="URL", help="Where it is posted to, signed."),
    ):
        function = option(function)
    return function


def _settings(values: dict[str, Any]) -> dict[str, Any]:
    if values.get("config") is not None:
        values["config"] = text_of(f"@{values['config']}", "--config", CONFIG_BYTES)
    return values


@code.command()
@click.argument("path")
@click.option("--name", default="", help="Of the code.  [default: that of the file or folder]")
@click.option(
    "--runtime",
    default="",
    type=click.Choice(["", *RUNTIMES]),
    metavar=f"[{'|'.join(RUNTIMES)}]",
    help="What runs it.  [default: guessed]",
)
@click.option(
    "--file", "file_name", default="", help="That is run, inside of the package.  [default: guessed]"
)
@project_option
@settings_options
@core_option
@output_option
def upload(path: str, *, project: str, db: str, output: str, **values: Any) -> None:
    """Upload PATH, a file, folder or zip; a code that is there gets a new revision.

    A file or folder is packed first. What is run, and by what, is guessed and said when nobody says it.
    """
    own = {name: values.pop(name) for name in ("name", "runtime", "file_name")}
    package = packed(path, **own)
    with package.file, opened_work(db) as work:
        if package.guessed:
            click.echo(escaped(f"reworker: guessed: {package.guessed}"), err=True)
        own = {name: getattr(package, name) for name in own}
        found = work.upload(made(NewCode, **own, project=project, **_settings(values)), package.file)
    files = f"{package.file_count} file{'s' if package.file_count != 1 else ''}"
    line = f"{found.id}  {found.name}  revision {found.rev}, {files}, {package.size_bytes} bytes"
    click.echo(json_line(found) if output == "json" else escaped(line))


@code.command()
@any_project_option
@core_option
@output_option
def ls(project: str, db: str, output: str) -> None:
    """List codes, newest first."""
    with opened_work(db) as work:
        for one in work.codes(project):
            if output == "json":
                click.echo(json_line(one))
                continue
            newest = one.revision
            what = f"{newest.runtime} {newest.file_name}" if newest else ""
            state = "  (paused)" if one.is_paused else ""
            name = f"{one.project} / {one.name}"
            line = f"{one.id}  {iso(one.updated_at)}  revision {one.rev:<4}  {name}  {what}{state}"
            click.echo(escaped(line))


@code.command()
@click.argument("name", shell_complete=complete_code)
@project_option
@core_option
@output_option
def show(name: str, project: str, db: str, output: str) -> None:
    """Show the code NAME (or id): its options and revisions."""
    with opened_work(db) as work:
        found = code_meant(work, project, name)
        revisions = list(work.revisions(found.id))
    if output == "json":
        click.echo(json_line({"code": found, "revisions": revisions}))
        return
    for line in _lines(found):
        click.echo(escaped(line))
    for one in revisions:
        what = f"{one.runtime} {one.file_name}  {one.size_bytes} bytes"
        line = f"revision {one.rev:<4}  {iso(one.created_at)}  {what}  by {one.actor or 'nobody'}"
        click.echo(escaped(line))


def _lines(found: Code) -> list[str]:
    """Return what there is to say of a code."""
    limit = found.max_concurrency or "without limit"
    rest = [
        f"{found.project} / {found.name}  {found.id}{'  (paused)' if found.is_paused else ''}",
        f"at once: {limit}; priority: {found.default_priority}",
        f"retries: {found.retries}, {found.retries_delay_s:g} s apart",
    ]
    rest += [f"env: {name}={value}" for name, value in found.env_vars.items()]
    rest += [f"config: {found.config}"] if found.config else []
    rest += [f"results to: {one}" for one in (found.result_queue, found.result_url) if one]
    return rest


@code.command()
@click.argument("name", shell_complete=complete_code)
@project_option
@settings_options
@core_option
@output_option
def change(name: str, project: str, db: str, output: str, **values: Any) -> None:
    """Change options of the code NAME, for tasks that are started from now on."""
    asked = made(CodeSettings, **_settings(values))
    if asked.is_empty:
        raise click.UsageError("say what is to be changed; `reworker code change --help` lists it")
    with opened_work(db) as work:
        found = work.change_code(code_meant(work, project, name).id, asked)
    click.echo(json_line(found) if output == "json" else "changed")


@code.command()
@click.argument("name", shell_complete=complete_code)
@click.argument("file", required=False)
@click.option("--revision", "rev", type=click.IntRange(0), default=0, help="[default: the newest]")
@project_option
@core_option
def download(name: str, file: str | None, rev: int, project: str, db: str) -> None:
    """Write the package of the code NAME to FILE, or NAME_REVISION.zip; - is standard output."""
    with opened_work(db) as work:
        found = code_meant(work, project, name)
        parts = work.package(found.id, rev)
        if file == "-":
            sys.stdout.buffer.writelines(parts)
        else:
            place = Path(file or f"{found.name.replace('/', '_')}_{rev or found.rev}.zip")
            _write(place, parts)
            click.echo(escaped(str(place)))


def _write(place: Path, parts: Iterable[bytes]) -> None:
    try:
        with place.open("xb") as target:
            target.writelines(parts)
    except FileExistsError as error:
        raise ConfigError(f"{place} is there already; name another file", key="FILE") from error
    except OSError as error:
        raise ConfigError(f"cannot write {place}: {error.strerror}", key="FILE") from error


@code.command()
@click.argument("name", shell_complete=complete_code)
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
@project_option
@core_option
def rm(name: str, is_sure: bool, project: str, db: str) -> None:
    """Delete the code NAME; its tasks keep their logs, and its schedules end."""
    with opened_work(db) as work:
        found = code_meant(work, project, name)
        if not is_sure and sys.stdin.isatty():
            click.confirm(escaped(f"Delete {found.name} with {found.rev} revisions?"), abort=True, err=True)
        work.remove_code(found.id)
    click.echo("removed")


@code.command()
@click.argument("name", shell_complete=complete_code)
@project_option
@core_option
def pause(name: str, project: str, db: str) -> None:
    """Start no further task of the code NAME; those that run go on."""
    with opened_work(db) as work:
        work.pause_code(code_meant(work, project, name).id, is_paused=True)
    click.echo("paused")


@code.command()
@click.argument("name", shell_complete=complete_code)
@project_option
@core_option
def resume(name: str, project: str, db: str) -> None:
    """Start tasks of the code NAME again."""
    with opened_work(db) as work:
        work.pause_code(code_meant(work, project, name).id, is_paused=False)
    click.echo("resumed")
