"""Topology files: what they may say, and what is said of those that are wrong."""

import pytest

from replugin.megafrobberworker import MegafrobberWorker
from replugin.noopworker import NoopWorker
from reworker.bus.contract import BindingSpec, DeclareMode, ExchangeSpec, QueueSpec, TopologySpec
from reworker.errors import ConfigError
from reworker.topology.file import load_topology
from reworker.topology.model import core_topology
from reworker.worker import Worker


@pytest.fixture
def load(tmp_path):
    """Give a function that loads a text as a file."""

    def load_text(text):
        path = tmp_path / "topology.yaml"
        path.write_text(text)
        return load_topology(str(path))

    return load_text


def one_queue(load, keys):
    (queue,) = load(f"queues: [{{name: q, {keys}}}]").wanted.queues
    return queue


def test_file_lists_exchanges_queues_and_bindings(load):
    found = load(
        "exchanges:\n- {name: e, kind: fanout, durable: false}\n"
        "queues:\n- {name: q, auto_delete: true}\n"
        "bindings:\n- {exchange: e, queue: q, routing_key: k.#}\n- {exchange: amq.topic, queue: q}\n"
    )
    assert found.wanted == TopologySpec(
        (ExchangeSpec("e", "fanout", False),),
        (QueueSpec("q", auto_delete=True),),
        (BindingSpec("e", "q", "k.#"), BindingSpec("amq.topic", "q", "")),
    )
    assert found.lines == {("exchange", "e"): 2, ("queue", "q"): 4}
    assert found.scope == ("worker.*",)


@pytest.mark.parametrize(
    ("keys", "arguments"),
    [
        ("type: classic", {"x-queue-type": "classic"}),
        ("type: quorum, delivery_limit: 0", {"x-queue-type": "quorum", "x-delivery-limit": 0}),
        (
            "dead_letter_exchange: '', dead_letter_key: k",
            {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "k"},
        ),
        ("message_ttl: 1m30s, expires: 0.5", {"x-message-ttl": 90_000, "x-expires": 500}),
        (
            "max_length: 0, max_length_bytes: 7, overflow: reject-publish",
            {"x-max-length": 0, "x-max-length-bytes": 7, "x-overflow": "reject-publish"},
        ),
        ("max_priority: 255", {"x-max-priority": 255}),
        ("consumer_timeout: 2h", {"x-consumer-timeout": 7_200_000}),
        ("single_active_consumer: false", {"x-single-active-consumer": False}),
        (
            "arguments: {x-queue-mode: lazy, own: [1, {a: b}]}",
            {"x-queue-mode": "lazy", "own": [1, {"a": "b"}]},
        ),
    ],
)
def test_keys_of_a_queue_become_its_arguments(load, keys, arguments):
    assert one_queue(load, keys).arguments == arguments


@pytest.mark.parametrize("kind", [NoopWorker, MegafrobberWorker])
@pytest.mark.parametrize(
    ("keys", "properties"),
    [
        ("", {}),
        ("domain: blue", {"domain": "blue"}),
        ("queue: other", {"queue": "other"}),
        ("bindings: [a, b.*]", {"routing_keys": ["a", "b.*"]}),
        ("exchange: own", {"exchange": "own"}),
        ("type: quorum", {"queue_type": "quorum"}),
    ],
)
def test_short_form_is_what_the_worker_itself_declares(load, kind, keys, properties):
    name = kind.__name__.lower().removesuffix("worker")
    found = load(f"workers: {{{name}: {{{keys}}}}}")
    assert found.wanted == kind({}, **properties)._settings.topology()


def test_name_of_a_worker_may_be_that_of_its_class(load):
    class TailWorker(Worker):
        pass

    assert load("workers: {tailworker: }").wanted == TailWorker({})._settings.topology()


def test_worker_has_the_limits_that_the_file_says(load):
    found = load("workers: {noop: {type: quorum, delivery_limit: 3, message_ttl: 1h, user: ann}}")
    queue = next(one for one in found.wanted.queues if one.name == "worker.noopworker")
    assert queue.arguments == {
        "x-dead-letter-exchange": "re.dead",
        "x-queue-type": "quorum",
        "x-delivery-limit": 3,
        "x-message-ttl": 3_600_000,
    }
    (worker,) = found.workers
    assert (worker.user, worker.declare) == ("ann", DeclareMode.VERIFY)


def test_core_is_what_the_core_itself_declares(load):
    assert load("core: {}").wanted == core_topology()
    found = load("core: {exchange: e, job_queue: jobs, type: quorum}")
    assert found.wanted == core_topology("e", "jobs", queue_type="quorum")


def test_worker_of_many_queues_stands_for_what_it_declares(load):
    class CodeWorker(Worker):
        queues_key = "worker.code.#"

    found = load("workers: {code: {queues: 'worker.code.#', declare: declare}}")
    assert found.wanted == CodeWorker({})._settings.topology()
    (worker,) = found.workers
    assert (worker.queues_key, worker.suffix) == ("worker.code.#", "codeworker")


def test_parts_of_one_system_may_say_the_same_twice(load):
    found = load("core: {}\nworkers: {noop: {}, sleep: {}}\nexchanges: [{name: re}]")
    assert [one.name for one in found.wanted.exchanges] == ["re", "re.control", "re.dead"]
    assert len(found.wanted.queues) == len({one.name for one in found.wanted.queues}) == 6


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["the document is empty"]),
        ("{}", ["lists no exchange, queue or binding"]),
        ("- a", ["a topology must be a mapping, not a list"]),
        ("queues: []", ["lists no exchange"]),
        ("queuess: []", ["topology.yaml:1: ", "unknown key 'queuess'; did you mean 'queues'?"]),
        ("queues:\n- {name: a, mesage_ttl: 5}", [":2: queues[0]: unknown key", "'message_ttl'?"]),
        ("queues: [{durable: true}]", ["queues[0]: 'name' is missing"]),
        ("queues: [{name: ''}]", ["must not be empty"]),
        ("queues: [{name: amq.x}]", ["'amq.x' is reserved"]),
        ("queues: [{name: 7}]", ["must be text, not 7; quote it"]),
        (f"queues: [{{name: {'x' * 256}}}]", ["at most 255 bytes"]),
        ("queues: [{name: q, durable: 'yes'}]", ["must be true or false"]),
        ("queues: [{name: q, exclusive: true}]", ["unknown key 'exclusive'"]),
        ("queues: [{name: q, type: quorom}]", ["did you mean 'quorum'?"]),
        ("queues: [{name: q, overflow: 7}]", ["unknown value 7; known: drop-head"]),
        ("queues: [{name: q, message_ttl: 0}]", ["is no duration"]),
        ("queues: [{name: q, message_ttl: 1h banana}]", ["is no duration"]),
        ("queues: [{name: q, message_ttl: 50d}]", ["longer than the broker can count"]),
        ("queues: [{name: q, max_length: -1}]", ["whole number from 0"]),
        ("queues: [{name: q, max_priority: 256}]", ["from 1 to 255"]),
        ("queues: [{name: q, delivery_limit: 3}]", ["add type: quorum"]),
        ("queues: [{name: q, type: quorum, max_priority: 3}]", ["quorum queues have no max_priority"]),
        ("queues: [{name: q, type: quorum, durable: false}]", ["always durable"]),
        ("queues: [{name: q, type: quorum, auto_delete: true}]", ["never auto_delete"]),
        ("queues: [{name: q, dead_letter_key: k}]", ["needs dead_letter_exchange"]),
        ("queues: [{name: q, arguments: {x-a: }}]", ["'x-a' has no value"]),
        ("queues: [{name: q, max_length: 1, arguments: {x-max-length: 2}}]", ["x-max-length is given twice"]),
        ("queues:\n- {name: q}\n- {name: q, durable: false}", [":3: ", "'q' is another one in line 2"]),
        ("exchanges: [{name: e, kind: topc}]", ["'topc'; did you mean 'topic'?"]),
        ("exchanges:\n- {name: e}\n- {name: e, kind: direct}", [":3: ", "exchange 'e' is another one"]),
        (
            "queues: [{name: ab}]\nbindings:\n- {exchange: amq.topic, queue: abc}",
            [":3: ", "did you mean 'ab'?"],
        ),
        ("queues: [{name: q}]\nbindings: [{exchange: f, queue: q}]", ["exchange 'f' is not in this file"]),
        (
            "queues: [{name: q}]\nbindings: [{exchange: '', queue: q}]",
            ["the default exchange has no bindings"],
        ),
        (
            "queues: [{name: q}]\nbindings:\n- {exchange: amq.fanout, queue: q}\n"
            "- {exchange: amq.fanout, queue: q}",
            [":4: ", "the same as in line 3"],
        ),
        ("workers: {noop: {domian: x}}", ["did you mean 'domain'?"]),
        ("workers: {noop: {queue: 'a b'}}", ["without spaces"]),
        ("workers: {noop: {domain: '#'}}", ["without spaces, * and #"]),
        ("workers: {'a.b': {}}", ["a name has only letters"]),
        ("workers: {noop: {bindings: x}}", ["must be a list"]),
        ("workers: {noop: {declare: verfy}}", ["did you mean 'verify'?"]),
        ("workers: {code: {queues: 'code.#'}}", ["'code.#' matches no queues"]),
        ("workers: {code: {queues: worker.code}}", ["'worker.code' matches no queues"]),
        (
            "workers: {code: {queues: 'worker.code.#', max_length: 3}}",
            ["max_length is of a queue of its own"],
        ),
        ("workers: {code: {queues: 'worker.code.#', retry: true}}", ["retry is of a queue of its own"]),
        ("workers: [noop]", ["workers must be a mapping"]),
        ("workers: {noop: 3}", ["an entry must be a mapping"]),
        ("core: {type: lazy}", ["unknown value 'lazy'"]),
        ("queues: [{name: q}]\nclients: {a: {vhost: x}}", ["unknown key 'vhost'"]),
        ("scope: worker.*\nqueues: [{name: q}]", ["scope must be a list"]),
        ("queues: [{name: q}]\nqueues: []", ["appears twice"]),
        ("queues: [", ["not valid YAML or JSON"]),
    ],
)
def test_wrong_file_is_refused_with_line_and_reason(load, text, words):
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


def test_all_problems_are_told_at_once_by_line(load):
    with pytest.raises(ConfigError) as caught:
        load("bindings: [{exchange: e}]\nqueues:\n- {name: q, type: x}\n- {nam: q}\n")
    lines = [line.rpartition("topology.yaml:")[2][:2] for line in str(caught.value).splitlines()]
    assert lines == sorted(lines)
    assert len(lines) == 4


def test_endless_problems_are_cut(load):
    with pytest.raises(ConfigError) as caught:
        load("queues:\n" + "- {nam: q}\n" * 1000)
    assert len(str(caught.value).splitlines()) == 100


def test_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read"):
        load_topology(str(tmp_path / "gone.yaml"))
