"""`reworker topology` on a RabbitMQ with its management plugin, and what it says when it refuses."""

import json
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from replugin.noopworker import NoopWorker
from replugin.sleepworker import SleepWorker
from reworker.bus.connection import PikaBus
from reworker.bus.contract import BindingSpec, DeclareMode, ExchangeSpec, QueueSpec, TopologySpec
from reworker.bus.tls import tls_context
from reworker.config import TlsSettings, mq_settings
from reworker.core.settings import core_settings
from reworker.errors import CannotConnect, TopologyMismatch
from reworker.topology.management import Login, Management, NotSeen
from tests.integration.topology_support import PASSWORD, connected
from tests.support.certificates import make_certificate
from tests.support.ports import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.rabbitmq

FILE = """
core: {}
workers:
  noop: {retry: true}
  other: {}
"""


# ---- plan, check, prune with everything in sight


def test_everything_is_the_same_after_apply(seeing):
    seeing.write(FILE + "queues: [{name: worker.slow, type: quorum, consumer_timeout: 1h}]")
    assert set(seeing.states().values()) == {"create"}
    seeing.type("apply")
    found = json.loads(seeing.type("check", "-o", "json"))
    assert {one["state"] for one in found["entries"]} == {"same"}
    assert (found["is_same"], found["unseen"]) == (True, [])


def test_every_difference_is_shown_at_once(seeing, seen_channel):
    seeing.write("queues: [{name: worker.a, type: quorum, consumer_timeout: 1h}]\nexchanges: [{name: e}]")
    seen_channel.queue_declare("worker.a", auto_delete=True, arguments={"x-max-length": 5})
    seen_channel.exchange_declare("e", "direct", internal=True, arguments={"alternate-exchange": "x"})
    entries = json.loads(seeing.type("check", "-o", "json", code=1))["entries"]
    found = {one["name"]: [tuple(two.values()) for two in one["differences"]] for one in entries}
    assert found["worker.a"] == [
        ("auto_delete", "false", "true"),
        ("durable", "true", "false"),
        ("x-consumer-timeout", "3600000", "none"),
        ("x-max-length", "none", "5"),
        ("x-queue-type", "quorum", "classic"),
    ]
    assert found["e"] == [
        ("alternate-exchange", "none", "x"),
        ("durable", "true", "false"),
        ("internal", "false", "true"),
        ("type", "topic", "direct"),
    ]


def test_workers_and_the_core_declare_what_their_short_forms_stand_for(seeing):
    seeing.write("core: {type: quorum}\nworkers: {noop: {type: quorum}, sleep: {type: classic}}")
    with closing(PikaBus(mq_settings(seeing.url))) as bus:
        bus.open(timeout_s=30)
        bus.declare(core_settings({"queue_type": "quorum"}, {}).topology())
        bus.declare(NoopWorker({}, queue_type="quorum")._settings.topology())
        bus.declare(SleepWorker({}, queue_type="classic")._settings.topology())
    assert set(seeing.states("check").values()) == {"same"}


def test_queue_without_a_type_is_the_classic_one(seeing, seen_channel):
    seeing.write("queues: [{name: worker.a, type: classic}, {name: worker.b}]")
    seen_channel.queue_declare("worker.a", durable=True)
    seen_channel.queue_declare("worker.b", durable=True, arguments={"x-queue-type": "classic"})
    assert set(seeing.states("check").values()) == {"same"}


def test_what_is_ours_and_not_in_the_file_is_found_and_pruned(seeing, seen_channel):
    seeing.write(FILE)
    seeing.type("apply")
    for name in ("worker.old", "worker.full", "team.tap"):
        seen_channel.queue_declare(name, durable=True)
        seen_channel.queue_bind(name, "re", "worker.#")
    seen_channel.queue_declare("worker.mine", exclusive=True)
    seen_channel.queue_declare("worker.otherworker.retry.5s", durable=True)
    seen_channel.queue_bind("worker.otherworker", "re", "worker.stray")
    seen_channel.basic_publish("", "worker.full", b"x", mandatory=True)
    extra = {
        "queue worker.old",
        "queue worker.full",
        "binding re --worker.stray--> worker.otherworker",
    }
    found = seeing.states("check", code=1)
    assert {name for name, state in found.items() if state == "extra"} == extra
    assert seeing.type("prune", code=1, answer="n\n") == ""
    assert {line[2:].split(":")[0] for line in seeing.error.splitlines() if line[:2] == "- "} == extra
    text = seeing.type("prune", "--yes", code=1)
    assert "deleted queue worker.old" in text
    assert "deleted binding re --worker.stray--> worker.otherworker" in text
    assert "kept queue worker.full" in text
    seen_channel.queue_purge("worker.full")
    assert seeing.type("prune", "--yes") == "deleted queue worker.full\n"
    assert seeing.type("prune", "--yes") == "nothing to delete\n"
    seen_channel.queue_declare("team.tap", passive=True)
    seeing.type("check")


def test_queue_stays_when_a_worker_that_drains_has_its_last_message(seeing, seen_channel):
    seeing.write(FILE)
    seeing.type("apply")
    seen_channel.queue_declare("worker.old", durable=True)
    seen_channel.basic_publish("", "worker.old", b"x", mandatory=True)
    method, _, _ = seen_channel.basic_get("worker.old")
    wait_until(lambda: "1 messages, 0 consumers" in seeing.type("plan"), 60)
    assert "1 messages that a worker has in hand" in seeing.type("prune", "--yes", code=1)
    seeing.write(FILE + "scope: ['team.*']")
    named = seeing.type("prune", "--queue", "worker.old", "--yes", code=1)
    assert "1 messages that a worker has in hand" in named
    seen_channel.basic_nack(method.delivery_tag)
    seen_channel.queue_declare("worker.old", passive=True)


def test_scope_of_the_file_says_what_is_ours(seeing, seen_channel):
    seeing.write("scope: ['team.*']\nqueues: [{name: own}]")
    for name in ("worker.old", "team.old", "own"):
        seen_channel.queue_declare(name, durable=True)
    found = seeing.states("plan")
    assert found == {"queue own": "same", "queue team.old": "extra"}


# ---- the plugin itself


def test_plugin_is_not_looked_at_when_it_belongs_to_another_broker(plugin, plugin_vhost):
    guest = Management(plugin.url, Login("guest", "guest"))
    with closing(connected(plugin.node.url(plugin_vhost))) as connection:
        name = connection._impl.server_properties["cluster_name"]
    assert (
        guest.listing_of_broker(plugin_vhost, name, plugin.node.port).exchanges["amq.topic"].type == "topic"
    )
    for other, port in ((f"not-{name}", plugin.node.port), (name, plugin.node.port + 1)):
        with pytest.raises(NotSeen, match="another broker"):
            guest.listing_of_broker(plugin_vhost, other, port)


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


def test_command_ends_with_5_when_the_plugin_that_was_named_is_not_there(seeing):
    seeing.write(FILE)
    seeing.type("plan", "--management", f"http://127.0.0.1:{free_port()}", code=5)
    assert "Connection refused" in seeing.error
    seeing.type("plan", "--management", "ftp://x", code=2)
    assert "--management: expected http://HOST:PORT" in seeing.error


@contextmanager
def imposter(code, headers, tls=None):
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
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"{'https' if tls else 'http'}://localhost:{server.server_port}", seen
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


def test_plugin_is_asked_over_tls_only_when_its_certificate_is_trusted(tmp_path):
    certificate = make_certificate(tmp_path)
    with imposter(500, {}, certificate.server_context()) as (url, seen):
        with pytest.raises(CannotConnect, match="certificate verify failed"):
            Management(url, Login("guest", "guest")).listing("/")
        assert seen == []
        trusting = tls_context(TlsSettings(ca=str(certificate.cert)))
        with pytest.raises(CannotConnect, match="it answers 500"):
            Management(url, Login("guest", "guest", trusting)).listing("/")
        assert len(seen) == 1


# ---- what a refusal says

OTHER = QueueSpec("worker.other", arguments={"x-max-length": 5})


@pytest.mark.parametrize(
    ("spec", "mode", "code", "words"),
    [
        (
            TopologySpec(queues=(QueueSpec("worker.other"),)),
            DeclareMode.DECLARE,
            406,
            ["arguments={}", "received none but current is the value '5'", "Delete or rename the object"],
        ),
        (
            TopologySpec(exchanges=(ExchangeSpec("amq.topic", kind="direct"),)),
            DeclareMode.DECLARE,
            406,
            ["a direct exchange", "received 'direct' but current is 'topic'", "change our settings"],
        ),
        (
            TopologySpec(queues=(QueueSpec("worker.new", arguments={"x-max-length": "much"}),)),
            DeclareMode.DECLARE,
            406,
            ["invalid arg 'x-max-length'", "The broker does not take this: change our settings"],
        ),
        (
            TopologySpec(queues=(QueueSpec("worker.gone"),)),
            DeclareMode.VERIFY,
            404,
            ["no queue 'worker.gone'", "make it with `reworker topology apply`"],
        ),
        (
            TopologySpec(bindings=(BindingSpec("gone", "worker.other", "x"),)),
            DeclareMode.DECLARE,
            404,
            ["a binding to exchange gone with key 'x'", "no exchange 'gone'"],
        ),
        (
            TopologySpec(queues=(QueueSpec("worker.held"),)),
            DeclareMode.VERIFY,
            405,
            ["RESOURCE_LOCKED", "Another connection owns it: end that program"],
        ),
        (
            TopologySpec(queues=(QueueSpec("amq.mine"),)),
            DeclareMode.DECLARE,
            403,
            ["reserved prefix", "Delete or rename the object"],
        ),
    ],
)
def test_mismatch_says_what_is_expected_what_is_found_and_what_to_do(
    seeing, seen_channel, spec, mode, code, words
):
    seen_channel.queue_declare(OTHER.name, durable=True, arguments=OTHER.arguments)
    seen_channel.queue_declare("worker.held", exclusive=True)
    bus = PikaBus(mq_settings(seeing.url))
    with closing(bus):
        bus.open(timeout_s=30)
        with pytest.raises(TopologyMismatch) as caught:
            bus.declare(spec, mode)
    assert caught.value.reply_code == code
    assert [word for word in words if word not in str(caught.value)] == []
