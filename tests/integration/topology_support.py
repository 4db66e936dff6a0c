"""`reworker topology` as people type it, in this process, and brokers to hold files against."""

import io
import json
import sys

import pika
import pytest

from reworker.cli.main import main


class Typist:
    """Types commands of `reworker topology` for one file and one broker.

    Args:
        folder: where the file is.
        url: of the broker.
        monkeypatch, capsys: of the test.
    """

    def __init__(self, folder, url, monkeypatch, capsys):
        self.path, self.url = folder / "topology.yaml", url
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self.error = ""

    def write(self, text):
        """Make this the file."""
        self.path.write_text(text)

    def type(self, command, *options, code=0, answer=""):
        """Run a command, with this on its stdin; return its output, and keep stderr in `error`."""
        words = ["reworker", "topology", command, "-f", str(self.path), *options]
        words += [] if command == "permissions" else ["--mq", self.url]
        self._monkeypatch.setattr(sys, "argv", words)
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        with pytest.raises(SystemExit) as caught:
            main()
        told = self._capsys.readouterr()
        self.error = told.err
        assert caught.value.code == code, told.out + told.err
        return told.out

    def states(self, command="plan", *options, code=0):
        """Return {"kind name": state} of what a command says in JSON."""
        found = json.loads(self.type(command, "-o", "json", *options, code=code))
        return {f"{one['kind']} {one['name']}": one["state"] for one in found["entries"]}


def channel_of(connection):
    """Return a channel that confirms."""
    channel = connection.channel()
    channel.confirm_delivery()
    return channel


def connected(url, user="", password=""):
    """Return a plain connection, perhaps of another user."""
    parameters = pika.URLParameters(url)
    if user:
        parameters.credentials = pika.PlainCredentials(user, password)
    return pika.BlockingConnection(parameters)
