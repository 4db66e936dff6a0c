"""``reworker login`` and ``logout``: the token for a server, kept where only its owner reads it."""

from __future__ import annotations

import os
import sys

import click

from reworker.cli.server_client import ServerClient
from reworker.cli.token_store import drop_token, keep_token, token_for
from reworker.logs import escaped

_server = click.option(
    "--server", envvar="REWORKER_SERVER", metavar="URL", required=True, help="Which server."
)


@click.command()
@_server
@click.option("--keyring", "in_keyring", is_flag=True, help="Keep it in the keyring, not in a file.")
def login(server: str, in_keyring: bool) -> None:
    """Keep the token for a server; it is asked for, or read from standard input.

    It goes to a file in ~/.config/reworker that only you may read. REWORKER_TOKEN is used before that.
    """
    is_person = sys.stdin.isatty()
    token = click.prompt("Token", hide_input=True) if is_person else sys.stdin.readline()
    server, token = server.rstrip("/"), token.strip()
    if not token:
        raise click.UsageError("there is no token to keep: give it on standard input, such as `< token.txt`")
    who = ServerClient(server, token).get("/me")
    place = keep_token(server, token, os.environ, in_keyring=in_keyring)
    click.echo(escaped(f"{who['name']} at {server}, may {', '.join(who['scopes'])}; kept in {place}"))


@click.command()
@_server
def logout(server: str) -> None:
    """Forget the token for a server; it goes on to count until it is revoked."""
    was_there = drop_token(server.rstrip("/"), os.environ)
    click.echo("forgotten" if was_there else "there was none")


@click.command()
@_server
def whoami(server: str) -> None:
    """Say who you are to a server, and what you may do."""
    who = ServerClient(server, token_for(server.rstrip("/"), os.environ)).get("/me")
    click.echo(escaped(f"{who['name']}: {', '.join(who['scopes'])}"))
