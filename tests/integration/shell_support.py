"""A person's shell: commands in this process, with an environment and a home of their own."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from reworker.cli.main import main


class Said(NamedTuple):
    """What a command has said, and how it ended."""

    returncode: int
    stdout: str
    stderr: str


class Shell:
    """A person's shell: a home, a server, a token."""

    def __init__(self, home: Path, server: str, token: str) -> None:
        self.home = home
        self.environment = {"HOME": str(home), "REWORKER_SERVER": server, "REWORKER_TOKEN": token}

    def __call__(self, *arguments: str, said: str = "", **environment: str) -> Said:
        """Give a command, in this process: sixty new ones would take a minute."""
        ours = ("REWORKER", "XDG")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        given = {**clean, **self.environment, **environment}
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, {name: one for name, one in given.items() if one}, clear=True),
            mock.patch.object(sys, "argv", ["reworker", *arguments]),
            mock.patch.object(sys, "stdin", io.StringIO(said)),
            contextlib.chdir(self.home),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                main()
                code = 0
            except SystemExit as error:
                code = int(error.code or 0)
        return Said(code, out.getvalue(), err.getvalue())
