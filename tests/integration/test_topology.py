"""`reworker topology` on a broker that only AMQP is spoken with."""

import json
from contextlib import closing

import pytest

from tests.integration.topology_support import Typist, channel_of, connected
from tests.support.ports import free_port

FILE = """
workers: {frob: {queue: frob}}
queues:
- {name: worker.own, message_ttl: 5s}
"""
BINDINGS = ["re.dead ----> re.dead", "re --worker.frob--> worker.frob"]
UNTOUCHED = {
    "exchange re": "create",
    "exchange re.control": "create",
    "exchange re.dead": "create",
    "queue worker.own": "create",
    "queue re.dead": "create",
    "queue worker.frob": "create",
    **{f"binding {one}": "create" for one in BINDINGS},
}


@pytest.fixture
def typist(any_broker_url, tmp_path, monkeypatch, capsys):
    """Give a typist with a file that holds a worker and a queue of another kind."""
    made = Typist(tmp_path, any_broker_url, monkeypatch, capsys)
    made.write(FILE)
    return made


@pytest.fixture
def channel(typist):
    """Give a channel to the broker."""
    with closing(connected(typist.url)) as connection:
        yield channel_of(connection)


def test_plan_shows_what_is_to_be_created_and_creates_nothing(typist):
    assert typist.states() == UNTOUCHED
    assert typist.states("check", code=1) == UNTOUCHED
    lines = typist.type("plan").splitlines()
    assert "+ queue worker.own x-message-ttl=5000" in lines
    assert lines[-1] == "8 to create"


def test_apply_creates_what_is_missing_and_may_be_repeated(typist):
    assert "+ binding re --worker.frob--> worker.frob" in typist.type("apply").splitlines()
    assert "= binding re --worker.frob--> worker.frob" in typist.type("apply").splitlines()
    states = typist.states("check")
    assert {states[name] for name in UNTOUCHED if not name.startswith("binding")} == {"same"}
    # A worker's message goes where the file says.
    with closing(connected(typist.url)) as connection:
        channel_of(connection).basic_publish("re", "worker.frob", b"{}", mandatory=True)


def test_plan_says_what_amqp_cannot_tell(typist):
    typist.type("apply")
    typist.write(FILE + "- {name: worker.slow, consumer_timeout: 1h}\n")
    found = json.loads(typist.type("plan", "-o", "json"))
    assert {one["state"] for one in found["entries"] if one["kind"] == "binding"} == {"unseen"}
    assert found["is_same"] is False
    told = " ".join(found["unseen"])
    assert "bindings: AMQP cannot list them" in told
    assert "x-consumer-timeout of worker.slow" in told
    assert "give --management URL" in told
    assert "? binding re --worker.frob--> worker.frob" in typist.type("plan").splitlines()


def test_a_binding_is_known_to_be_missing_when_its_queue_is(typist, channel):
    typist.type("apply")
    channel.queue_delete("worker.frob")
    states = typist.states()
    assert states["binding re --worker.frob--> worker.frob"] == "create"
    assert states["binding re.dead ----> re.dead"] == "unseen"


@pytest.mark.parametrize(
    ("declared", "difference"),
    [
        ({}, "x-message-ttl: expected 5000, found none"),
        ({"arguments": {"x-message-ttl": 7000}}, "x-message-ttl: expected 5000, found 7000"),
        ({"durable": False, "arguments": {"x-message-ttl": 5000}}, "durable: expected true, found false"),
        (
            {"arguments": {"x-message-ttl": 5000, "x-queue-type": "quorum"}},
            "found quorum",
        ),
        (
            {"arguments": {"x-message-ttl": 5000, "x-dead-letter-exchange": "x"}},
            "x-dead-letter-exchange: expected none, found x",
        ),
    ],
)
def test_difference_of_a_queue_is_shown_and_nothing_is_made(typist, channel, declared, difference):
    channel.queue_declare("worker.own", **{"durable": True, **declared})
    states = typist.states("apply", code=1)
    assert states == {**UNTOUCHED, "queue worker.own": "differs"}
    lines = typist.type("apply", code=1).splitlines()
    at = lines.index("! queue worker.own")
    assert lines[at + 1].strip().endswith(difference)
    assert f"write what is found into {typist.path}:4" in lines[at + 2]
    assert "1 different from" in typist.error
    assert "nothing was made" in typist.error
    assert typist.states() == states


@pytest.mark.parametrize(
    "declared", [{"exchange_type": "direct", "durable": True}, {"exchange_type": "topic"}]
)
def test_difference_of_an_exchange_is_shown(typist, channel, declared):
    channel.exchange_declare("re", **declared)
    found = json.loads(typist.type("check", "-o", "json", code=1))
    (entry,) = [one for one in found["entries"] if one["state"] == "differs"]
    assert entry["name"] == "re"
    (difference,) = entry["differences"]
    ours = {"name": "type", "expected": "topic", "found": "direct"}
    assert difference in (ours, {"name": "durable", "expected": "true", "found": "false"})


def test_queue_of_another_connection_differs_and_says_so(typist, channel):
    channel.queue_declare("worker.own", exclusive=True)
    typist.type("apply", code=1)
    text = typist.type("plan")
    assert "exclusive: expected false, found true, it belongs to another connection" in text
    assert "end the program that owns it" in text


def test_argument_that_the_broker_does_not_take_is_told_when_it_is_made(typist):
    typist.write("queues: [{name: worker.a}, {name: worker.b, arguments: {x-max-length: much}}]")
    assert "+ queue worker.a" in typist.type("apply", code=1)
    assert "worker.b: broker answered 406" in typist.error
    assert "change our settings" in typist.error


def test_prune_deletes_a_queue_that_is_named(typist, channel):
    channel.queue_declare("worker.old")
    for answer in ("", "n\n"):
        assert typist.type("prune", "--blind", "--queue", "worker.old", code=1, answer=answer) == ""
        assert "- queue worker.old\nDelete these?" in typist.error
        channel.queue_declare("worker.old", passive=True)
    assert (
        typist.type("prune", "--blind", "--queue", "worker.old", answer="y\n") == "deleted queue worker.old\n"
    )
    channel.queue_declare("worker.old", durable=True)  # refused if the other were still there
    assert typist.type("prune", "--queue", "worker.old", "--yes", "--blind") == "deleted queue worker.old\n"


def test_prune_says_so_when_what_is_named_is_not_there(typist, channel):
    channel.queue_declare("worker.old")
    names = ("--queue", "worker.odl", "--queue", "worker.old", "--exchange", "none")
    assert typist.type("prune", *names, "--yes", "--blind") == "deleted queue worker.old\n"
    assert "queue worker.odl is not there" in typist.error
    assert "exchange none is not there" in typist.error
    assert typist.type("prune", *names, "--yes") == "nothing to delete\n"


def test_prune_keeps_what_is_in_use_unless_forced(typist, channel):
    channel.queue_declare("worker.full", durable=True)
    channel.basic_publish("", "worker.full", b"x", mandatory=True)
    channel.queue_declare("worker.read", durable=True)
    channel.basic_consume("worker.read", print)
    names = ("--queue", "worker.full", "--queue", "worker.read", "--yes")
    kept = json.loads(typist.type("prune", *names, "--blind", "-o", "json", code=1))["kept"]
    assert [one["name"] for one in kept] == ["worker.full", "worker.read"]
    assert "not empty" in kept[0]["reason"]
    assert "in use" in kept[1]["reason"]
    deleted = json.loads(typist.type("prune", *names, "--force", "-o", "json"))["deleted"]
    assert [one["name"] for one in deleted] == ["worker.full", "worker.read"]


def test_prune_keeps_a_quorum_queue_that_is_in_use_unless_forced(typist, channel):
    quorum = {"x-queue-type": "quorum"}
    for name in ("worker.empty", "worker.full"):
        channel.queue_declare(name, durable=True, arguments=quorum)
    channel.basic_publish("", "worker.full", b"x", mandatory=True)
    names = ("--queue", "worker.full", "--queue", "worker.empty", "--yes")
    text = typist.type("prune", *names, "--blind", code=1)
    assert "kept queue worker.full" in text
    assert "deleted queue worker.empty" in text
    assert "deleted queue worker.full" in typist.type("prune", "--queue", "worker.full", "--yes", "--force")


def test_prune_makes_room_for_what_differs(typist, channel):
    channel.queue_declare("worker.own")
    channel.exchange_declare("re", "direct")
    doomed = ("--queue", "worker.own", "--exchange", "re")
    typist.type("prune", *doomed, "--yes", "--blind")
    typist.type("apply")
    typist.type("prune", *doomed, "--yes", code=2)
    assert "the file has it; take it out of the file first" in typist.error


def test_prune_leaves_a_queue_alone_when_nobody_sees_what_its_worker_has_in_hand(typist, channel):
    channel.queue_declare("worker.old", durable=True)
    channel.basic_publish("", "worker.old", b"x", mandatory=True)
    method, _, _ = channel.basic_get("worker.old")
    typist.type("prune", "--queue", "worker.old", "--yes", code=5)
    assert "not deleted: worker.old. A worker may have messages of it in hand" in typist.error
    assert "rabbitmq-plugins enable rabbitmq_management" in typist.error
    channel.basic_nack(method.delivery_tag)
    assert channel.queue_declare("worker.old", passive=True).method.message_count == 1
    channel.exchange_declare("old")
    assert typist.type("prune", "--exchange", "old", "--yes") == "deleted exchange old\n"


def test_prune_says_what_it_needs_when_it_cannot_list(typist):
    typist.type("prune", "--yes", code=5)
    assert "give --management URL, or name it with --queue" in typist.error


@pytest.mark.parametrize("command", ["plan", "apply", "check", "prune"])
def test_command_has_an_exit_code_of_its_own_when_nobody_answers(command, tmp_path, monkeypatch, capsys):
    typist = Typist(tmp_path, f"amqp://ann:s3cret@127.0.0.1:{free_port()}/", monkeypatch, capsys)
    typist.write(FILE)
    typist.type(command, code=5)
    assert "cannot connect to amqp://ann:***@" in typist.error
    assert "s3cret" not in typist.error


@pytest.mark.parametrize("command", ["plan", "apply", "check", "prune", "permissions"])
def test_wrong_file_ends_with_2_and_names_the_line(command, tmp_path, monkeypatch, capsys):
    typist = Typist(tmp_path, "amqp://127.0.0.1:1/", monkeypatch, capsys)
    typist.write("queues:\n- {nam: x}\n")
    typist.type(command, code=2)
    assert "topology.yaml:2: queues[0]: unknown key 'nam'; did you mean 'name'?" in typist.error
