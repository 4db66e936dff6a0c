"""What everybody can do on RabbitMQ with the rights that `reworker topology permissions` prints."""

import json
import shlex
from collections import Counter
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pika
import pytest

from reworker.bus.connection import PikaBus
from reworker.bus.contract import Outgoing, Properties, Verdict, publish_and_wait
from reworker.bus.queue_state import QueueState
from reworker.cli.wiring import opened_service
from reworker.config import mq_settings
from reworker.errors import Unroutable
from reworker.gateway.contract import Completed, TaskType, Update
from reworker.gateway.gateway import PollGateway
from reworker.topology import names
from reworker.topology.code_queues import code_topology, delete_code_queue
from tests.integration.cli_support import reworker
from tests.integration.topology_support import Users, channel_of, connected, requested
from tests.support.waiting import wait_until

pytestmark = pytest.mark.rabbitmq

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


@pytest.fixture
def users(plugin, seeing, plugin_vhost):
    """Give users with the printed rights, in a virtual host to which the file was applied."""
    return Users(plugin, seeing, plugin_vhost)


def test_everybody_can_do_their_job_with_the_printed_rights(users, seen_channel, process, tmp_path):
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
        wait_until(lambda: "waiting" in str(service.log_lines(own_id)), 60, "the output of the last step")
        assert "talking" in str(service.log_lines(own_id))
        service.cancel(own_id)
        wait_until(lambda: service.deployment(own_id).is_over, 60, "the cancel")
        assert str(service.deployment(own_id).state.status) == "cancelled"
        events = service.events(own_id)
        assert [one.data["data"] for one in events if one.kind == "ReplyCompleted"] == [None, {"tries": 2}]
        assert events[-1].kind == "ReplyCancelled"
    (told,) = [seen_channel.basic_get("worker.ircnotify", auto_ack=True)[2]]
    assert json.loads(told)["target"] == ["#release"]
    seen_channel.basic_publish("re", "worker.narrow", b"no JSON", mandatory=True)
    wait_until(lambda: seen_channel.queue_declare("re.dead", passive=True).method.message_count == 1)
    _, properties, _ = seen_channel.basic_get("re.dead", auto_ack=True)
    assert "x-reworker-reason" in properties.headers
    assert (worker.terminate(), core.terminate()) == (0, 0)
    assert "ACCESS_REFUSED" not in worker.output + core.output


def test_worker_that_declares_can_do_that_with_the_printed_rights(users, process, seen_channel):
    seen_channel.queue_delete("worker.declaringworker")
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
    seen_channel.basic_publish("re", "worker.declaring", body, properties, mandatory=True)
    replies = seen_channel.consume("worker.ircnotify", auto_ack=True, inactivity_timeout=60)
    statuses = []
    while "completed" not in statuses:
        statuses.append(json.loads(next(replies)[2])["status"])
    seen_channel.cancel()
    assert worker.terminate() == 0
    assert "ACCESS_REFUSED" not in worker.output


def test_core_sees_who_works_in_a_domain_with_the_printed_rights(users, seen_channel):
    seen_channel.queue_declare("re.polled.worker.blue.frobberworker")
    seen_channel.basic_publish("", "re.polled.worker.blue.frobberworker", b"")
    seen_channel.basic_consume("worker.blue.frobberworker", lambda *_: None)
    with closing(PikaBus(mq_settings(users.url("CORE")))) as core:
        core.open(timeout_s=30)
        found = {}
        for queue in ("worker.blue.frobberworker", "re.polled.worker.blue.frobberworker", "worker.blue.gone"):
            core.look(queue, partial(found.__setitem__, queue), deadline_s=30)
        wait_until(lambda: len(found) == 3)
        assert list(found.values()) == [QueueState(True, 0, 1), QueueState(True, 1, 0), QueueState(False)]


@pytest.mark.parametrize("mode", ["verify", "off"])
def test_worker_of_codes_and_core_can_do_their_jobs_with_the_printed_rights(
    users, process, seen_channel, mode
):
    with closing(PikaBus(mq_settings(users.url("CORE")))) as core:
        core.open(timeout_s=30)
        core.declare(code_topology("0" * 24))
        replies, script = [], str(Path(__file__).with_name("many_worker.py"))
        core.consume("re.replies", lambda one: (one.settle(Verdict.ACK), replies.append(one)), prefetch=0)
        worker = process(script, users.url("MANY"), environment={"REWORKER_DECLARE": mode})
        worker.wait_for_line(r"consuming worker\.code\.#")
        for own_id, subcommand in (("a.1", "Do"), ("b.1", "Wait")):
            body = json.dumps({"group": "g", "parameters": {"subcommand": subcommand}}).encode()
            properties = Properties(correlation_id=own_id, reply_to="re.replies", headers={"x-reworker": 2})
            publish_and_wait(core, Outgoing("re", CODE, body, properties))
        wait_until(
            lambda: [json.loads(one.body)["status"] for one in replies] == ["started", "completed", "started"]
        )
        cancel = Outgoing("re.control", f"cancel.code.{'0' * 24}", b'{"attempt": "b.1"}', Properties())
        core.publish(cancel)
        wait_until(lambda: json.loads(replies[-1].body)["status"] == "cancelled")
        assert worker.terminate() == 0
        wait_until(lambda: delete_code_queue(core, "0" * 24))
    assert "ACCESS_REFUSED" not in worker.output


def test_gateway_can_do_its_job_with_the_printed_rights(users, caplog):
    with ExitStack() as stack:
        core, bus = (stack.enter_context(closing(PikaBus(mq_settings(users.url(one))))) for one in BOTH_ENDS)
        core.open(timeout_s=30)
        bus.open(timeout_s=30)
        gateway = stack.enter_context(closing(PollGateway(bus)))
        gateway.start()
        replies, polls, done = [], [], []
        core.consume("re.replies", lambda one: (one.settle(Verdict.ACK), replies.append(one)), prefetch=0)
        for own_id, domain in (("a.1", ""), ("b.1", "blue")):
            gateway.poll(TaskType("polled", domain), "me", polls.append, count=1, hold_s=20)
            step = _step(own_id, names.worker_queue("polled", domain))
            wait_until(lambda step=step: _is_routable(core, step))
            wait_until(lambda: polls)
            polls[0].written()
            update = Update(polls.pop().offers[0].task_id, Completed({}), lines=("a line",))
            gateway.update(update, done.append)
        wait_until(lambda: len(done) == 2)
        wait_until(lambda: len(replies) >= 4)
        found = Counter(json.loads(one.body)["status"] for one in replies)
        assert found == {"started": 2, "completed": 2}
        marker = []
        core.look("re.polled.worker.blue.polled", marker.append, deadline_s=30)
        wait_until(lambda: marker)
        assert marker == [QueueState(True, 1, 0)]
    assert "ACCESS_REFUSED" not in caplog.text


def _step(own_id, key):
    body = b'{"group": "g", "parameters": {"command": "polled", "subcommand": "Do"}}'
    properties = Properties(correlation_id=own_id, reply_to="re.replies", headers={"x-reworker": 2})
    return Outgoing("re", key, body, properties)


def _is_routable(bus, message):
    try:
        publish_and_wait(bus, message)
    except Unroutable:
        return False
    return True


def test_worker_that_may_not_declare_says_what_to_do(users, process):
    script = str(Path(__file__).with_name("narrow_worker.py"))
    worker = process(script, users.url("NARROW"))
    assert worker.wait() == 1
    assert "access to exchange 're' in vhost" in worker.output
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


CODE = f"worker.code.{'0' * 24}"


def made(queue):
    """Return how the core makes the queue of a code, hears of it and deletes it again."""

    def make(channel):
        arguments = {"x-max-priority": 2, "x-dead-letter-exchange": "re.dead"}
        channel.queue_declare(queue, durable=True, arguments=arguments)
        channel.queue_bind(queue, "re", queue)
        channel.queue_delete(queue, if_unused=True, if_empty=True)

    return make


def rung(key):
    """Return how a worker would hear of messages with this key."""

    def listen(channel):
        bell = f"re.control.manyworker.{'b' * 24}"
        channel.queue_declare(bell, exclusive=True, auto_delete=True, arguments={"x-max-length": 1000})
        channel.queue_bind(bell, "re", key)

    return listen


BOTH_ENDS = ("CORE", "GATEWAY")
REFUSED = [
    ("GATEWAY", "read another worker's queue", get("worker.otherworker")),
    ("GATEWAY", "read the tasks of codes", get(CODE)),
    ("GATEWAY", "read replies", consume("re.replies")),
    ("GATEWAY", "publish a step", publish("re", "worker.polled")),
    ("GATEWAY", "request a job", publish("re", "job.create")),
    ("GATEWAY", "cancel", publish("re.control", "cancel.polled")),
    ("GATEWAY", "make a queue", declare("mine")),
    ("GATEWAY", "delete the queue of another", delete("worker.otherworker")),
    ("MANY", "read another worker's queue", get("worker.otherworker")),
    ("MANY", "read replies", consume("re.replies")),
    ("MANY", "read dead letters", get("re.dead")),
    ("MANY", "publish a step of a code", publish("re", CODE)),
    ("MANY", "request a job", publish("re", "job.create")),
    ("MANY", "cancel", publish("re.control", f"cancel.code.{'0' * 24}")),
    ("MANY", "hear of all steps", rung("worker.#")),
    ("MANY", "hear output", rung("output")),
    ("MANY", "take the steps of a code away", bind(CODE, "re", CODE)),
    ("MANY", "make the queue of a code", declare(CODE)),
    ("MANY", "delete the queue of a code", delete(CODE)),
    ("MANY", "empty the queue of another", lambda channel: channel.queue_purge("worker.otherworker")),
    ("MANY", "make a queue", declare("mine")),
    ("CORE", "make the queue of a worker called code", declare("worker.code")),
    ("CORE", "make a queue that is none of a code", declare("worker.code.heavy")),
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
    ("MANY", "take from the queue of a code", get(f"worker.code.{'1' * 24}")),
    ("MANY", "reply", publish("", "re.replies")),
    ("MANY", "publish output", publish("re", "output")),
    ("MANY", "hear of steps of codes", rung("worker.code.#")),
    ("CORE", "make and delete the queue of a code", made(CODE)),
    ("CORE", "publish a step of a code", publish("re", f"worker.code.{'1' * 24}")),
    ("CORE", "publish a step", publish("re", "worker.otherworker")),
    ("CORE", "take replies", get("re.replies")),
    ("CLIENT", "request a job", publish("re", "job.create")),
]


def test_nobody_can_do_what_is_not_their_job(users, seen_channel):
    seen_channel.queue_declare(f"worker.code.{'1' * 24}", durable=True)
    seen_channel.queue_bind(f"worker.code.{'1' * 24}", "re", f"worker.code.{'1' * 24}")
    found = {}
    for word in users.names:
        own = [(what, act) for who, what, act in (*REFUSED, *ALLOWED) if who == word]
        with closing(connected(users.url(word))) as connection:
            found |= {(word, what): code_of(connection, act) for what, act in own}
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


def test_apply_of_a_user_without_rights_says_which_are_missing(plugin, users, seen_channel):
    users.typist.url = users.url("NARROW")
    assert users.typist.states("plan", "--management", "", code=0)["queue worker.otherworker"] == "unseen"
    seen_channel.queue_delete("worker.otherworker")
    users.typist.type("apply", "--management", "", code=1)
    assert "broker answered 403" in users.typist.error
    assert "`reworker topology permissions`" in users.typist.error
