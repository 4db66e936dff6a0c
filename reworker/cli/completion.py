"""``reworker completion``: what a shell needs to complete our commands, and the values of playbooks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from reworker.cli.main import COMPLETION
from reworker.cli.params import Param, params_of
from reworker.cli.playbooks import read_playbook
from reworker.errors import ConfigError
from reworker.fsm.parsing import examine

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a script for SHELL; for bash: eval "$(reworker completion bash)".

    It completes commands, options, and the names and values that a playbook takes (`run FILE -e <Tab>`).
    """
    root = click.get_current_context().find_root()
    kind = get_completion_class(shell)
    assert kind is not None, "click knows these shells"
    click.echo(kind(root.command, {}, "reworker", COMPLETION).source())


@add_completion_class
class JoiningBash(BashComplete):
    """Bash, which takes ``NAME=VALUE`` for three words: they are put together, and taken apart again."""

    _head = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is typed, and that one whole."""
        words, incomplete = super().get_completion_args()
        if incomplete == "=" and words:
            *words, name = words
            self._head = incomplete = f"{name}="
        elif len(words) > 1 and words[-1] == "=":
            *words, name, _ = words
            self._head, incomplete = f"{name}=", f"{name}={incomplete}"
        return words, incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """Return an item without what bash keeps of the word."""
        return super().format_completion(
            CompletionItem(item.value.removeprefix(self._head), item.type, item.help)
        )


def complete_pair(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return what ``NAME=VALUE`` may become, for click."""
    return completed_pair(incomplete, os.environ)


def completed_pair(incomplete: str, environ: Mapping[str, str]) -> list[str]:
    """Return what ``NAME=VALUE`` of a command line may become.

    Args:
        incomplete: what is typed of it.
        environ: with ``COMP_WORDS``, the whole line.
    """
    found = _params_in(split_arg_string(environ.get("COMP_WORDS", "")))
    return [one for one in _pairs(found, incomplete) if one.startswith(incomplete)]


def _params_in(words: list[str]) -> list[Param]:
    """Return what the playbook among the words takes; a shell must not be told of errors."""
    for one in words[2:]:
        if Path(one).is_file():
            try:
                playbook = examine(read_playbook(one), one).playbook
            except ConfigError:
                return []
            return params_of(playbook) if playbook else []
    return []


def _pairs(found: list[Param], incomplete: str) -> Iterator[str]:
    name, sign, _ = incomplete.partition("=")
    if sign:
        yield from (f"{name}={choice}" for choice in _choices(found, name))
    else:
        yield from (f"{one.name}=" for one in found)


def _choices(found: list[Param], name: str) -> tuple[str, ...]:
    return next((one.choices for one in found if one.name == name), ())
