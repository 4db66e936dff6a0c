"""`reworker token` with what makes no sense."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reworker.cli.main import cli, exit_code
from reworker.cli.options import DEFAULT_DB
from reworker.errors import ReworkerError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REWORKER_DB", raising=False)
    return tmp_path


def token(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["token", *arguments])


def said(result: Result) -> tuple[int, str]:
    """Return the exit code and the words, as `main` makes them of an error of ours."""
    if isinstance(result.exception, ReworkerError):
        return exit_code(result.exception), str(result.exception)
    return result.exit_code, result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "--scope", "raed"), "there is no scope 'raed'; did you mean 'read'?"),
        (("create", "--scope", "\x1b[31m"), "there is no scope '\\x1b[31m'; known: read, run, approve"),
        (("create", "--scope", "read", "--expires", "soon"), "'soon' is no time such as 90d"),
        (("create", "--scope", "read", "--expires", "0d"), "'0d' is no time"),
        (("create", "--scope", "read", "--group", ""), "groups: patterns have 1 to 200 characters"),
        (("create", "--scope", "read", "--name", "a\nb"), "name: takes 1 to 100 characters"),
        (("create",), "Missing option '--scope'"),
        (("revoke",), "Missing argument 'ID...'"),
    ],
)
def test_command_says_what_is_wrong_and_makes_nothing(
    folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    code, text = said(token(*arguments, "--db", "x.db"))
    assert code == 2
    assert words in text
    assert not (folder / "x.db").exists() or token("ls", "--db", "x.db").stdout == ""


def test_no_database_is_made_in_whatever_folder_this_is(folder: Path) -> None:
    code, text = said(token("create", "--scope", "read"))
    assert (code, list(folder.iterdir())) == (2, [])
    assert "there is no database" in text
    assert token("create", "--scope", "read", "--db", DEFAULT_DB).exit_code == 0


def test_token_that_is_not_there_is_not_revoked(folder: Path) -> None:
    token("create", "--scope", "read", "--db", "x.db")
    code, text = said(token("revoke", "x" * 5000, "--db", "x.db"))
    assert code == 1
    assert "reworker token ls" in text
    assert len(text) < 200
