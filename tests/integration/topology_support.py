"""`reworker topology` as people type it, in this process, and brokers to hold files against."""

import io
import json
import sys
import urllib.request
from base64 import b64encode
from urllib.parse import urlsplit

import pika
import pytest

from reworker.cli.main import main
from tests.support import rabbitmq as rabbitmq_server
from tests.support.ports import free_port

#: of every user that a test adds.
PASSWORD = "s3cret-of-tests"
#: a topology with everybody who has rights; words in capitals become names of users.
FILE = """
core: {user: CORE}
workers:
  narrow: {user: NARROW, retry: true}
  declaring: {user: DECLARING, declare: declare}
  many: {user: MANY, queues: "worker.code.#"}
  other: {}
  frobber: {domain: blue}
  ircnotify: {queue: ircnotify, bindings: [notify.irc]}
clients: {CLIENT: {}}
gateways: {GATEWAY: {types: [polled]}}
"""


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


class Plugin:
    """A RabbitMQ node with its management plugin."""

    def __init__(self):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        settings = (f"management.tcp.port = {port}", "management.tcp.ip = 127.0.0.1")
        self.node = rabbitmq_server.RabbitMQNode(settings=settings)
        (self.node.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")

    def post(self, path, value):
        """Post JSON as guest."""
        request = urllib.request.Request(self.url + path, json.dumps(value).encode(), method="POST")
        request.add_header("Authorization", "Basic " + b64encode(b"guest:guest").decode())
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as response:
            assert response.status in (200, 201, 204)

    def add_user(self, name, *, tag="none"):
        """Add a user that may do nothing."""
        text = (
            f'ok = rabbit_auth_backend_internal:add_user(<<"{name}">>, <<"{PASSWORD}">>, <<"test">>), '
            f'ok = rabbit_auth_backend_internal:set_tags(<<"{name}">>, [{tag}], <<"test">>)'
        )
        self.node.evaluate(text)


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


class Users:
    """Users with the printed rights, each with a connection of its own."""

    def __init__(self, plugin, typist, vhost):
        self.plugin, self.typist = plugin, typist
        self.names = {
            one: f"{one.lower()}-{vhost}"
            for one in ("CORE", "NARROW", "DECLARING", "MANY", "CLIENT", "GATEWAY")
        }
        text = FILE
        for word, name in self.names.items():
            text = text.replace(word, name)
            plugin.add_user(name)
        typist.write(text)
        typist.type("apply")
        self.definitions = json.loads(typist.type("permissions", "--vhost", vhost, "-o", "json"))
        users = set(self.names.values())
        # The file names workers whose users are of no interest here.
        known = {key: [one for one in rows if one["user"] in users] for key, rows in self.definitions.items()}
        plugin.post("/api/definitions", known)
        self.vhost = vhost

    def url(self, word):
        """Return the URL with which a user logs in."""
        parts = urlsplit(self.plugin.node.url(self.vhost))
        return parts._replace(netloc=f"{self.names[word]}:{PASSWORD}@{parts.hostname}:{parts.port}").geturl()


def requested(client, playbook_id):
    """Request a job as a client would; return the id in the answer."""
    channel = channel_of(client)
    queue = channel.queue_declare("", exclusive=True).method.queue
    body = json.dumps({"group": "web", "playbook_id": playbook_id}).encode()
    channel.basic_publish("re", "job.create", body, pika.BasicProperties(reply_to=queue), mandatory=True)
    _, _, answer = next(channel.consume(queue, auto_ack=True, inactivity_timeout=60))
    channel.cancel()
    return json.loads(answer)["id"]
