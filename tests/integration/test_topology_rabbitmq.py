"""`reworker topology` on a RabbitMQ with its management plugin; what users can do with the printed rights."""

import json
import shlex
import threading
import urllib.request
from base64 import b64encode
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pika
import pytest

from reworker.cli.wiring import opened_service
from reworker.errors import CannotConnect
from reworker.topology.management import Login, Management, NotSeen
from tests.conftest import fresh_vhost, require_server
from tests.integration.cli_support import reworker
from tests.integration.topology_support import Typist, channel_of, connected
from tests.support import rabbitmq as rabbitmq_server
from tests.support.ports import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.rabbitmq

PASSWORD = "narrow"
FILE = """
core: {user: CORE}
workers:
  narrow: {user: NARROW, retry: true}
  declaring: {user: DECLARING, declare: declare}
  other: {}
  ircnotify: {queue: ircnotify, bindings: [notify.irc]}
clients: {CLIENT: {}}
"""
PLAYBOOK = """
group: web
name: everything
execution:
- hosts: [web1]
  steps:
  - narrow:Talk: {notify: {completed: {irc: ["#release"]}}}
  - narrow:Again
  - narrow:Long
"""


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
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.status in (200, 201, 204)

    def add_user(self, name, *, tag="none"):
        """Add a user that may do nothing."""
        text = (
            f'ok = rabbit_auth_backend_internal:add_user(<<"{name}">>, <<"{PASSWORD}">>, <<"test">>), '
            f'ok = rabbit_auth_backend_internal:set_tags(<<"{name}">>, [{tag}], <<"test">>)'
        )
        self.node.evaluate(text)


@pytest.fixture(scope="module")
def plugin():
    """Give a node that all tests of this module share."""
    require_server("RabbitMQ", rabbitmq_server.is_installed())
    made = Plugin()
    with made.node:
        yield made


@pytest.fixture
def vhost(plugin):
    """Give the name of a fresh virtual host."""
    name = plugin.node.add_vhost(fresh_vhost())
    yield name
    plugin.node.delete_vhost(name)


@pytest.fixture
def typist(plugin, vhost, tmp_path, monkeypatch, capsys):
    """Give a typist who sees everything."""
    monkeypatch.setenv("REWORKER_MANAGEMENT", plugin.url)
    return Typist(tmp_path, plugin.node.url(vhost), monkeypatch, capsys)


@pytest.fixture
def channel(typist):
    """Give a channel of guest."""
    with closing(connected(typist.url)) as connection:
        yield channel_of(connection)


# ---- plan, check, prune with everything in sight


def test_everything_is_the_same_after_apply(typist):
    typist.write(FILE + "queues: [{name: worker.slow, consumer_timeout: 1h, max_priority: 3}]")
    assert set(typist.states().values()) == {"create"}
    typist.type("apply")
    found = json.loads(typist.type("check", "-o", "json"))
    assert {one["state"] for one in found["entries"]} == {"same"}
    assert (found["is_same"], found["unseen"]) == (True, [])


def test_every_difference_is_shown_at_once(typist, channel):
    typist.write("queues: [{name: worker.a, type: quorum, consumer_timeout: 1h}]\nexchanges: [{name: e}]")
    channel.queue_declare("worker.a", auto_delete=True, arguments={"x-max-length": 5})
    channel.exchange_declare("e", "direct", internal=True, arguments={"alternate-exchange": "x"})
    entries = json.loads(typist.type("check", "-o", "json", code=1))["entries"]
    found = {one["name"]: [tuple(two.values()) for two in one["differences"]] for one in entries}
    assert found["worker.a"] == [
        ("auto_delete", "false", "true"),
        ("durable", "true", "false"),
        ("x-consumer-timeout", "3600000", "none"),
        ("x-max-length", "none", "5"),
        ("x-queue-type", "quorum", "none"),
    ]
    assert found["e"] == [
        ("alternate-exchange", "none", "x"),
        ("durable", "true", "false"),
        ("internal", "false", "true"),
        ("type", "topic", "direct"),
    ]


def test_queue_without_a_type_is_the_classic_one(typist, channel):
    typist.write("queues: [{name: worker.a, type: classic}, {name: worker.b}]")
    channel.queue_declare("worker.a", durable=True)
    channel.queue_declare("worker.b", durable=True, arguments={"x-queue-type": "classic"})
    assert set(typist.states("check").values()) == {"same"}


def test_what_is_ours_and_not_in_the_file_is_found_and_pruned(typist, channel):
    typist.write(FILE)
    typist.type("apply")
    for name in ("worker.old", "worker.full", "team.tap"):
        channel.queue_declare(name, durable=True)
        channel.queue_bind(name, "re", "worker.#")
    channel.queue_declare("worker.mine", exclusive=True)
    channel.queue_declare("worker.otherworker.retry.5s", durable=True)
    channel.queue_bind("worker.otherworker", "re", "worker.stray")
    channel.basic_publish("", "worker.full", b"x", mandatory=True)
    extra = {
        "queue worker.old",
        "queue worker.full",
        "binding re --worker.stray--> worker.otherworker",
    }
    found = typist.states("check", code=1)
    assert {name for name, state in found.items() if state == "extra"} == extra
    assert typist.type("prune", code=1, answer="n\n") == ""
    assert {line[2:].split(":")[0] for line in typist.error.splitlines() if line[:2] == "- "} == extra
    text = typist.type("prune", "--yes", code=1)
    assert "deleted queue worker.old" in text
    assert "deleted binding re --worker.stray--> worker.otherworker" in text
    assert "kept queue worker.full" in text
    channel.queue_purge("worker.full")
    assert typist.type("prune", "--yes") == "deleted queue worker.full\n"
    assert typist.type("prune", "--yes") == "nothing to delete\n"
    channel.queue_declare("team.tap", passive=True)
    typist.type("check")


def test_scope_of_the_file_says_what_is_ours(typist, channel):
    typist.write("scope: ['team.*']\nqueues: [{name: own}]")
    for name in ("worker.old", "team.old", "own"):
        channel.queue_declare(name, durable=True)
    found = typist.states("plan")
    assert found == {"queue own": "same", "queue team.old": "extra"}


# ---- the plugin itself


def test_plugin_is_not_looked_at_when_it_belongs_to_another_broker(plugin, vhost):
    guest = Management(plugin.url, Login("guest", "guest"))
    with closing(connected(plugin.node.url(vhost))) as connection:
        name = connection._impl.server_properties["cluster_name"]
    assert guest.listing_of_broker(vhost, name, plugin.node.port).exchanges["amq.topic"].type == "topic"
    for other, port in ((f"not-{name}", plugin.node.port), (name, plugin.node.port + 1)):
        with pytest.raises(NotSeen, match="another broker"):
            guest.listing_of_broker(vhost, other, port)


@pytest.mark.parametrize(
    ("user", "password", "vhost_name", "words"),
    [
        ("guest", "wrong", "/", "give it the tag"),
        ("looker", PASSWORD, "/", "give it the tag"),
        ("guest", "guest", "no/such", "does not know this virtual host"),
    ],
)
def test_plugin_that_was_named_must_answer(plugin, user, password, vhost_name, words):
    if user == "looker":
        plugin.add_user(user)
    with pytest.raises(CannotConnect, match=words):
        Management(plugin.url, Login(user, password)).listing(vhost_name)


def test_command_ends_with_5_when_the_plugin_that_was_named_is_not_there(typist):
    typist.write(FILE)
    typist.type("plan", "--management", f"http://127.0.0.1:{free_port()}", code=5)
    assert "Connection refused" in typist.error
    typist.type("plan", "--management", "ftp://x", code=2)
    assert "--management: expected http://HOST:PORT" in typist.error


@contextmanager
def imposter(code, headers):
    """Run an HTTP server that answers everything alike; yield its URL and the headers that it was sent."""
    seen = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(dict(self.headers))
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("code", "headers"),
    [
        (200, {}),
        (401, {"WWW-Authenticate": 'Basic realm="something else"'}),
        (301, {"Location": "http://127.0.0.1:1/"}),
        (500, {}),
    ],
)
def test_password_is_not_told_to_a_stranger(code, headers):
    with imposter(code, headers) as (url, seen):
        with pytest.raises(NotSeen, match="not RabbitMQ's management plugin"):
            Management(url, Login("guest", "guest")).listing_of_broker("/", "x", 1)
        assert [one for one in seen if "Authorization" in one] == []
        assert len(seen) == 1


def test_password_is_not_led_elsewhere():
    with imposter(200, {}) as (elsewhere, seen), imposter(302, {"Location": elsewhere}) as (url, _):
        with pytest.raises(CannotConnect, match="it answers 302"):
            Management(url, Login("guest", "guest")).listing("/")
        assert seen == []


# ---- rights


class Users:
    """Users with the printed rights, each with a connection of its own."""

    def __init__(self, plugin, typist, vhost):
        self.plugin, self.typist = plugin, typist
        self.names = {one: f"{one.lower()}-{vhost}" for one in ("CORE", "NARROW", "DECLARING", "CLIENT")}
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


@pytest.fixture
def users(plugin, typist, vhost):
    """Give users with the printed rights, in a virtual host to which the file was applied."""
    return Users(plugin, typist, vhost)


def requested(client, playbook_id):
    """Request a job as a client would; return the id in the answer."""
    channel = channel_of(client)
    queue = channel.queue_declare("", exclusive=True).method.queue
    body = json.dumps({"group": "web", "playbook_id": playbook_id}).encode()
    channel.basic_publish("re", "job.create", body, pika.BasicProperties(reply_to=queue), mandatory=True)
    _, _, answer = next(channel.consume(queue, auto_ack=True, inactivity_timeout=20))
    channel.cancel()
    return json.loads(answer)["id"]


def test_everybody_can_do_their_job_with_the_printed_rights(users, channel, process, tmp_path):
    db = f"sqlite:///{tmp_path / 'reworker.db'}"
    (tmp_path / "playbook.yaml").write_text(PLAYBOOK)
    core = process("-m", "reworker", "core", "--mq", users.url("CORE"), "--db", db)
    script = str(Path(__file__).with_name("narrow_worker.py"))
    worker = process(script, users.url("NARROW"), environment={"REWORKER_DECLARE": "verify"})
    core.wait_for_line("core core runs")
    worker.wait_for_line(r"consuming worker\.narrowworker")
    added = reworker("playbook", "add", "playbook.yaml", "--db", db, "-o", "json", folder=tmp_path)
    with closing(connected(users.url("CLIENT"))) as client, opened_service(db) as service:
        own_id = requested(client, json.loads(added.stdout)["id"])
        wait_until(lambda: "waiting" in str(service.log_lines(own_id)), 20, "the output of the last step")
        assert "talking" in str(service.log_lines(own_id))
        service.cancel(own_id)
        wait_until(lambda: service.deployment(own_id).is_over, 20, "the cancel")
        assert str(service.deployment(own_id).state.status) == "cancelled"
        events = service.events(own_id)
        assert [one.data["data"] for one in events if one.kind == "ReplyCompleted"] == [None, {"tries": 2}]
        assert events[-1].kind == "ReplyCancelled"
    (told,) = [channel.basic_get("worker.ircnotify", auto_ack=True)[2]]
    assert json.loads(told)["target"] == ["#release"]
    channel.basic_publish("re", "worker.narrow", b"no JSON", mandatory=True)
    wait_until(lambda: channel.queue_declare("re.dead", passive=True).method.message_count == 1)
    _, properties, _ = channel.basic_get("re.dead", auto_ack=True)
    assert "x-reworker-reason" in properties.headers
    assert (worker.terminate(), core.terminate()) == (0, 0)
    assert "ACCESS_REFUSED" not in worker.output + core.output


def test_worker_that_declares_can_do_that_with_the_printed_rights(users, process, channel):
    channel.queue_delete("worker.declaringworker")
    program = (
        "from tests.integration.narrow_worker import NarrowWorker\n"
        "from reworker.worker import runner\n"
        "class DeclaringWorker(NarrowWorker): pass\n"
        "runner(DeclaringWorker)"
    )
    worker = process("-c", program, users.url("DECLARING"), folder=Path(__file__).parents[2])
    worker.wait_for_line(r"consuming worker\.declaringworker")
    body = b'{"group": "g", "parameters": {"subcommand": "Again"}}'
    properties = pika.BasicProperties(reply_to="worker.ircnotify", correlation_id="x")
    channel.basic_publish("re", "worker.declaring", body, properties, mandatory=True)
    replies = channel.consume("worker.ircnotify", auto_ack=True, inactivity_timeout=20)
    statuses = []
    while "completed" not in statuses:
        statuses.append(json.loads(next(replies)[2])["status"])
    channel.cancel()
    assert worker.terminate() == 0
    assert "ACCESS_REFUSED" not in worker.output


def test_worker_that_may_not_declare_says_what_to_do(users, process):
    script = str(Path(__file__).with_name("narrow_worker.py"))
    worker = process(script, users.url("NARROW"))
    assert worker.wait() == 1
    assert "ACCESS_REFUSED - access to exchange 're'" in worker.output
    assert "`reworker topology permissions`" in worker.output
    assert "`declare: verify`" in worker.output


def consume(queue):
    return lambda channel: channel.basic_consume(queue, print)


def get(queue):
    return lambda channel: channel.basic_get(queue)


def publish(exchange, key):
    return lambda channel: channel.basic_publish(exchange, key, b"{}", mandatory=True)


def bind(queue, exchange, key):
    return lambda channel: channel.queue_bind(queue, exchange, key)


def declare(queue, **options):
    return lambda channel: channel.queue_declare(queue, **options)


def delete(queue):
    return lambda channel: channel.queue_delete(queue)


CONTROL = f"re.control.narrowworker.{'a' * 24}"


def spied(key):
    """Return how a worker would hear control messages with this key."""

    def listen(channel):
        channel.queue_declare(CONTROL, exclusive=True)
        channel.queue_bind(CONTROL, "re.control", key)

    return listen


REFUSED = [
    ("NARROW", "read another worker's queue", consume("worker.otherworker")),
    ("NARROW", "take from another worker's queue", get("worker.otherworker")),
    ("NARROW", "read replies", consume("re.replies")),
    ("NARROW", "read output", consume("re.output")),
    ("NARROW", "read job requests", get("recore")),
    ("NARROW", "read dead letters", get("re.dead")),
    ("NARROW", "publish a step", publish("re", "worker.otherworker")),
    ("NARROW", "publish a step for itself", publish("re", "worker.narrow")),
    ("NARROW", "request a job", publish("re", "job.create")),
    ("NARROW", "cancel", publish("re.control", "cancel.otherworker")),
    ("NARROW", "publish elsewhere", publish("amq.topic", "x")),
    ("NARROW", "take another worker's steps", bind("worker.narrowworker", "re", "worker.otherworker")),
    ("NARROW", "hear what others are cancelled", spied("cancel.otherworker")),
    ("NARROW", "hear every cancel", spied("cancel.*")),
    ("NARROW", "hear everything", spied("#")),
    ("NARROW", "make a queue", declare("mine")),
    ("NARROW", "make a queue without a name", declare("", exclusive=True)),
    ("NARROW", "delete its own queue", delete("worker.narrowworker")),
    ("NARROW", "delete another worker's queue", delete("worker.otherworker")),
    ("NARROW", "empty another worker's queue", lambda channel: channel.queue_purge("worker.otherworker")),
    ("NARROW", "delete an exchange", lambda channel: channel.exchange_delete("re")),
    ("NARROW", "make an exchange", lambda channel: channel.exchange_declare("re.mine")),
    ("DECLARING", "read another worker's queue", consume("worker.otherworker")),
    ("DECLARING", "read replies", consume("re.replies")),
    ("DECLARING", "publish a step", publish("re", "worker.otherworker")),
    ("DECLARING", "take another worker's steps", bind("worker.declaringworker", "re", "worker.otherworker")),
    ("DECLARING", "hear output", bind("worker.declaringworker", "re", "output")),
    ("CLIENT", "publish a step", publish("re", "worker.otherworker")),
    ("CLIENT", "publish output", publish("re", "output")),
    ("CLIENT", "answer a step", publish("", "re.replies")),
    ("CLIENT", "read replies", consume("re.replies")),
    ("CLIENT", "read a worker's queue", get("worker.otherworker")),
    ("CLIENT", "make a queue", declare("worker.mine")),
    ("CLIENT", "delete a queue", delete("recore")),
    ("CORE", "read a worker's queue", get("worker.otherworker")),
    ("CORE", "delete a worker's queue", delete("worker.otherworker")),
    ("CORE", "read dead letters of others", get("worker.ircnotify")),
]
ALLOWED = [
    ("NARROW", "take from its queue", get("worker.narrowworker")),
    ("NARROW", "reply", publish("", "re.replies")),
    ("NARROW", "publish output", publish("re", "output")),
    ("NARROW", "notify", publish("re", "notify.irc")),
    ("NARROW", "wait", publish("", "worker.narrowworker.retry.1s")),
    ("NARROW", "refuse with a reason", publish("re.dead", "x")),
    ("NARROW", "hear its own cancels", spied("cancel.narrow")),
    ("NARROW", "hear pings", spied("ping")),
    # The default exchange leads to every queue; RabbitMQ has no narrower right for it, and replies need it.
    ("NARROW", "publish straight into a queue", publish("", "worker.otherworker")),
    ("CORE", "publish a step", publish("re", "worker.otherworker")),
    ("CORE", "take replies", get("re.replies")),
    ("CLIENT", "request a job", publish("re", "job.create")),
]


def test_nobody_can_do_what_is_not_their_job(users):
    found = {}
    for word in users.names:
        with closing(connected(users.url(word))) as connection:
            for who, what, act in (*REFUSED, *ALLOWED):
                if who == word:
                    found[who, what] = code_of(connection, act)
    assert [one for one in REFUSED if found[one[0], one[1]] != 403] == []
    assert [one for one in ALLOWED if found[one[0], one[1]] != 0] == []


def code_of(connection, act):
    """Return the reply code with which the broker refuses; 0 when it does not."""
    channel = channel_of(connection)
    try:
        act(channel)
    except pika.exceptions.ChannelClosedByBroker as error:
        return int(error.reply_code)
    channel.close()
    return 0


def test_printed_commands_give_the_same_rights(plugin, users):
    script = users.typist.type("permissions", "--vhost", users.vhost)
    lines = [line for line in script.splitlines() if f" {users.names['CLIENT']} " in line and line[0] != "#"]
    assert len(lines) == 2
    url = users.url("CLIENT")
    plugin.node.evaluate(
        f'rabbit_auth_backend_internal:delete_user(<<"{users.names["CLIENT"]}">>, <<"test">>)'
    )
    plugin.add_user(users.names["CLIENT"])
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "rabbitmqctl"
        plugin.node.rabbitmqctl(*words)
    with closing(connected(url)) as client:
        assert code_of(client, publish("re", "job.create")) == 0
        assert code_of(client, publish("re", "worker.otherworker")) == 403
