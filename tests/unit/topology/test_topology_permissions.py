"""The printed rights: what the regular expressions take, and their two forms."""

import re
import shlex

import pytest

from reworker.bus.contract import DeclareMode, TopologySpec
from reworker.errors import ConfigError
from reworker.topology.contents import ClientEntry, CoreEntry, TopologyFile, WorkerEntry
from reworker.topology.permissions import (
    CORE_WORDS,
    DEFAULT_EXCHANGE,
    NOTHING,
    Rights,
    TopicRights,
    commands_of,
    definitions_of,
    rights_of,
)

ID = "0123456789abcdef01234567"


def worker(**options):
    given = {
        "user": "ann",
        "suffix": "aworker",
        "queue": "worker.aworker",
        "routing_keys": ("worker.aworker", "worker.a"),
        "exchange": "re",
        "declare": DeclareMode.VERIFY,
    }
    return WorkerEntry(**{**given, **options})


def rights_for(*workers, cores=(), clients=()):
    empty = {"path": "t.yaml", "wanted": TopologySpec(), "lines": {}}
    return rights_of(TopologyFile(**empty, workers=workers, cores=cores, clients=clients))


def takes(pattern, names):
    return {name for name in names if re.search(pattern, name)}


NAMES = {
    "re",
    "re.control",
    "re.dead",
    "re.replies",
    "amq.default",
    "worker.aworker",
    "worker.aworker.retry.5s",
    "worker.aworker2",
    "workerxaworker",
    "worker.b",
    f"re.control.aworker.{ID}",
    f"re.control.bworker.{ID}",
    "re.control.aworker.",
    "amq.gen-x",
    "",
}
OWN_CONTROL = f"re.control.aworker.{ID}"


@pytest.mark.parametrize("mode", [DeclareMode.VERIFY, DeclareMode.OFF])
def test_worker_that_does_not_declare_has_few_rights(mode):
    (rights,) = rights_for(worker(declare=mode))
    assert takes(rights.configure, NAMES) == {OWN_CONTROL}
    looked_for = {"worker.aworker.retry.5s"} if mode is DeclareMode.VERIFY else set()
    assert takes(rights.write, NAMES) == {OWN_CONTROL, "re", "re.dead", "amq.default"} | looked_for
    assert takes(rights.read, NAMES) == {OWN_CONTROL, "re.control", "worker.aworker"}


def test_worker_that_declares_has_more_of_them():
    (rights,) = rights_for(worker(declare=DeclareMode.DECLARE))
    waiting = "worker.aworker.retry.5s"
    declared = {OWN_CONTROL, "re", "re.control", "re.dead", "worker.aworker", waiting}
    assert takes(rights.configure, NAMES) == declared
    assert takes(rights.write, NAMES) == {OWN_CONTROL, "re", "re.dead", "amq.default", "worker.aworker"}
    assert takes(rights.read, NAMES) == {
        OWN_CONTROL,
        "re",
        "re.control",
        "re.dead",
        "worker.aworker",
        waiting,
    }
    (exchange, _) = rights.topics
    assert takes(exchange.read, {"worker.a", "worker.aworker", "worker.b", "output"}) == {
        "worker.a",
        "worker.aworker",
    }


CODE = f"worker.code.{ID}"
OF_CODES = {CODE, f"{CODE}.retry.5s", "worker.code", "worker.codes", "worker.code.", "worker.b", "re.replies"}


@pytest.mark.parametrize("mode", DeclareMode)
def test_worker_of_many_queues_reads_them_and_makes_none(mode):
    many = worker(suffix="codeworker", queue="worker.codeworker", queues_key="worker.code.#", declare=mode)
    (rights,) = rights_for(many)
    own = f"re.control.codeworker.{ID}"
    names = {*NAMES, *OF_CODES, own, "worker.codeworker"}
    room = {f"{CODE}.retry.5s"}
    shared = {"re", "re.control", "re.dead"} | room if mode is DeclareMode.DECLARE else set()
    assert takes(rights.configure, names) == {own} | shared
    looked_for = room if mode is DeclareMode.VERIFY else set()
    assert takes(rights.write, names) == {own, "re", "re.dead", "amq.default"} | looked_for
    assert takes(rights.read, names) == {own, "re", "re.control", CODE} | room | shared
    exchange, control = rights.topics
    keys = {"worker.code.#", CODE, "worker.#", "#", "output", "worker.codexx"}
    assert takes(exchange.read, keys) == {"worker.code.#"}
    heard = {"cancel.code.#", "cancel.code", "cancel.codeworker", f"cancel.code.{ID}", "cancel.#", "ping"}
    assert takes(control.read, heard) == {"cancel.code.#", "cancel.code", "cancel.codeworker", "ping"}
    assert "worker.code.#" in rights.about


def test_core_makes_queues_of_codes_where_there_are_workers_of_them():
    core = CoreEntry(user="core", exchange="re", job_queue="jobs")
    for workers, made in (((), set()), ((worker(queues_key="worker.code.#"),), {CODE})):
        of_core = rights_for(*workers, cores=(core,))[0]
        for pattern in (of_core.configure, of_core.write, of_core.read):
            assert takes(pattern, OF_CODES - {"re.replies"}) == made


def test_worker_may_publish_output_and_notifications_and_hear_its_own_control_messages():
    (rights,) = rights_for(worker())
    exchange, control = rights.topics
    keys = {"output", "outputs", "notify.irc", "notify.", "notifyx", "worker.a", "job.create"}
    assert takes(exchange.write, keys) == {"output", "notify.irc"}
    assert takes(exchange.read, keys) == set()
    heard = {"ping", "cancel.a", "cancel.aworker", "pause.a", "cancel.b", "cancel.*", "#", "*.a", "xping"}
    assert takes(control.read, heard) == {"ping", "cancel.a", "cancel.aworker", "pause.a"}
    assert takes(control.write, heard) == set()


def test_names_with_special_characters_stay_names():
    (rights,) = rights_for(worker(queue="worker.a+b", suffix="a+b", exchange="r(e"))
    assert takes(rights.read, {"worker.a+b", "worker.aab"}) == {"worker.a+b"}
    assert takes(rights.write, {"r(e", "re"}) == {"r(e"}


def test_worker_types_of_one_user_share_its_rights():
    other = worker(suffix="b", queue="worker.b", exchange="own", routing_keys=("worker.b",))
    (rights,) = rights_for(worker(), other)
    assert takes(rights.read, {"worker.aworker", "worker.b", "worker.c"}) == {"worker.aworker", "worker.b"}
    assert [one.exchange for one in rights.topics] == ["re", "own", "re.control"]
    assert takes(rights.topics[-1].read, {"cancel.a", "cancel.b", "cancel.c"}) == {"cancel.a", "cancel.b"}


@pytest.mark.parametrize("other", ["cores", "clients"])
def test_user_shared_by_others_is_refused_because_the_last_rights_would_count(other):
    entry = {
        "cores": CoreEntry(user="ann", exchange="re", job_queue="jobs"),
        "clients": ClientEntry(user="ann", exchange="re"),
    }[other]
    with pytest.raises(ConfigError, match="'ann': give each a user of its own"):
        rights_for(worker(), **{other: (entry,)})


def test_core_and_client_have_theirs():
    core = CoreEntry(user="core", exchange="re", job_queue="jobs")
    of_core, of_client = rights_for(cores=(core,), clients=(ClientEntry(user="portal", exchange="re"),))
    assert takes(of_core.read, {"re.replies", "re.output", "jobs", "worker.b"}) == {
        "re.replies",
        "re.output",
        "jobs",
    }
    canary = f"re.control.core.{ID}"
    assert takes(of_core.configure, {"re", "amq.default", "worker.b", canary, OWN_CONTROL}) == {"re", canary}
    assert takes(of_core.read, {canary, OWN_CONTROL}) == {canary}
    assert takes(of_core.write, {"re", "re.control", "amq.default", "worker.b"}) == {
        "re",
        "re.control",
        "amq.default",
    }
    assert takes(of_client.write, NAMES) == {"re"}
    assert takes(of_client.read, NAMES) == takes(of_client.configure, NAMES) == {"amq.gen-x"}
    assert takes(of_client.topics[0].write, {"job.create", "worker.a", "output"}) == {"job.create"}


def test_commands_and_definitions_say_the_same():
    topic = TopicRights("r e", "w'", NOTHING)
    rights = (Rights("ann lee", "somebody", "c", "^(w|$)$", "r", (topic,)),)
    about, *lines = commands_of(rights, "my vhost")
    assert about == "# ann lee: somebody"
    plain, by_topic = [shlex.split(line) for line in lines]
    definitions = definitions_of(rights, "my vhost")
    (permission,), (topic_permission,) = definitions["permissions"], definitions["topic_permissions"]
    assert plain == ["rabbitmqctl", "set_permissions", "-p", permission["vhost"], permission["user"]] + [
        permission[key] for key in ("configure", "write", "read")
    ]
    assert by_topic[1:3] == ["set_topic_permissions", "-p"]
    assert by_topic[3:] == [topic_permission[key] for key in ("vhost", "user", "exchange", "write", "read")]


def test_commands_say_what_no_right_keeps_a_worker_from():
    core, worker = (
        Rights("boss", CORE_WORDS, "c", DEFAULT_EXCHANGE, "r"),
        Rights("sleep", "worker", "c", f"^({DEFAULT_EXCHANGE}|re)$", "r"),
    )
    assert any("accept_from: [boss]" in line for line in commands_of((core, worker), "/"))
    for alone in (core, worker):
        assert not any("accept_from" in line for line in commands_of((alone,), "/"))


def test_core_may_look_at_queues_of_workers_where_some_stand_in_domains():
    core = CoreEntry(user="core", exchange="re", job_queue="recore")
    looked = {"worker.eu.aworker", "worker.aworker", "re.polled.worker.eu.a"}
    wanted = looked | {"re.polledx", "workerx", "re.polled."}
    for worker_entry, found in ((worker(), set()), (worker(queue="worker.eu.aworker"), looked)):
        (rights, _) = rights_for(worker_entry, cores=(core,))
        assert takes(rights.write, wanted) == found
        assert not takes(rights.configure, wanted)
