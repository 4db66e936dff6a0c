"""Plans, and changes after them, on a broker made of answers."""

from dataclasses import dataclass, field

import msgspec
import pytest

from reworker.bus.contract import BindingSpec, ExchangeSpec, QueueSpec, TopologySpec
from reworker.cli.topology_report import advice_of, json_of, lines_of
from reworker.errors import ConfigError, TopologyMismatch
from reworker.topology.change import delete, make_missing, named_entries
from reworker.topology.contents import TopologyFile
from reworker.topology.difference import Difference, difference_in, exchange_differences, queue_differences
from reworker.topology.management import FoundExchange, FoundQueue, Listing
from reworker.topology.plan import Entry, Plan, State, plan_by_asking, plan_by_listing

EXCHANGE, QUEUE = ExchangeSpec("re"), QueueSpec("worker.a", arguments={"x-max-length": 5})
BINDING = BindingSpec("re", "worker.a", "worker.a")
FILE = TopologyFile(
    path="t.yaml",
    wanted=TopologySpec((EXCHANGE,), (QUEUE,), (BINDING,)),
    lines={("exchange", "re"): 2, ("queue", "worker.a"): 4},
)
INEQUIVALENT = "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'worker.a' in vhost '/': "


class Answer(msgspec.Struct):
    """One answer."""

    reply_code: int = 0
    text: str = ""


@dataclass
class AnsweringBroker:
    """Gives answers by (verb, name), and success to everything else; keeps what it was asked."""

    answers: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)

    def __getattr__(self, verb):
        def answer(what, **options):
            name = what if isinstance(what, str | BindingSpec) else what.name
            self.asked.append((verb, name, *options.values()))
            return self.answers.get((verb, name), Answer())

        return answer


def states(plan):
    return {one.name: one.state for one in plan.entries}


def test_plan_asks_first_and_compares_only_what_is_there():
    broker = AnsweringBroker({("find_queue", "worker.a"): Answer(404)})
    plan = plan_by_asking(FILE, broker)
    assert states(plan) == {
        "re": State.SAME,
        "worker.a": State.CREATE,
        "re --worker.a--> worker.a": State.CREATE,
    }
    assert broker.asked == [("find_exchange", "re"), ("declare_exchange", "re"), ("find_queue", "worker.a")]
    assert not plan.is_same


def test_binding_is_not_seen_when_both_ends_are_there():
    plan = plan_by_asking(FILE, AnsweringBroker())
    assert states(plan)["re --worker.a--> worker.a"] is State.UNSEEN
    assert plan.is_same
    assert any("bindings" in one for one in plan.unseen)


def test_what_may_not_be_compared_is_not_seen():
    refused = Answer(403, "ACCESS_REFUSED - access to queue 'worker.a' refused for user 'ann'")
    (entry,) = plan_by_asking(FILE, AnsweringBroker({("declare_queue", "worker.a"): refused})).of(
        State.UNSEEN
    )[:1]
    assert "refused for user 'ann'" in entry.note
    broker = AnsweringBroker()
    make_missing(Plan(entries=(entry,)), broker, print)
    assert broker.asked == []


@pytest.mark.parametrize(
    ("answer", "difference", "advice"),
    [
        (
            Answer(406, INEQUIVALENT + "received '5' but current is '6'"),
            Difference("x-max-length", "5", "6"),
            "write what is found into t.yaml:4",
        ),
        (
            Answer(405, "RESOURCE_LOCKED"),
            Difference("exclusive", "false", "true, it belongs to another connection"),
            "end the program",
        ),
        (Answer(406, "PRECONDITION_FAILED - invalid arg 'x-max-length'"), None, "t.yaml:4 says; change it"),
    ],
)
def test_difference_is_told_with_what_to_do(answer, difference, advice):
    plan = plan_by_asking(FILE, AnsweringBroker({("declare_queue", "worker.a"): answer}))
    (entry,) = plan.of(State.DIFFERS)
    assert entry.differences == (() if difference is None else (difference,))
    assert entry.note == ("" if difference else answer.text)
    assert advice in advice_of(entry, "t.yaml")


@pytest.mark.parametrize(
    ("text", "difference"),
    [
        (
            "received none but current is the value '5' of type 'signedint'",
            Difference("x-max-length", "none", "5"),
        ),
        (
            "received the value 'it's' of type 'longstr' but current is none",
            Difference("x-max-length", "it's", "none"),
        ),
        ("received 'true' but current is 'false'", Difference("x-max-length", "true", "false")),
        ("received a letter", None),
    ],
)
def test_difference_is_read_from_the_words_of_the_broker(text, difference):
    assert difference_in(INEQUIVALENT + text) == difference


def test_properties_of_an_exchange_are_compared():
    assert exchange_differences(EXCHANGE, FoundExchange("re", "topic", True)) == ()
    found = FoundExchange("re", "direct", False, True, True, {"alternate-exchange": "x"})
    assert [one.name for one in exchange_differences(EXCHANGE, found)] == [
        "alternate-exchange",
        "auto_delete",
        "durable",
        "internal",
        "type",
    ]


def test_queue_without_a_type_is_the_classic_one():
    for ours, theirs in (({}, {"x-queue-type": "classic"}), ({"x-queue-type": "classic"}, {})):
        assert (
            queue_differences(QueueSpec("q", arguments=ours), FoundQueue("q", True, arguments=theirs)) == ()
        )
    found = FoundQueue("q", True, arguments={"x-queue-type": "quorum"})
    assert queue_differences(QueueSpec("q"), found) == (Difference("x-queue-type", "classic", "quorum"),)


def test_queue_without_a_type_is_what_the_virtual_host_makes_of_it():
    found = FoundQueue("q", True, arguments={"x-queue-type": "quorum"})
    assert queue_differences(QueueSpec("q"), found, "quorum") == ()
    classic = (Difference("x-queue-type", "quorum", "classic"),)
    assert queue_differences(QueueSpec("q"), FoundQueue("q", True), "quorum") == classic


def test_what_may_not_even_be_looked_at_is_tried():
    refused = Answer(403, "ACCESS_REFUSED - configure access to queue 'worker.a' refused for user 'ann'")
    answers = {("find_queue", "worker.a"): refused, ("declare_queue", "worker.a"): refused}
    plan = plan_by_asking(FILE, AnsweringBroker(answers))
    assert states(plan)["worker.a"] is State.UNSEEN
    with pytest.raises(TopologyMismatch, match=r"worker\.a: broker answered 403"):
        make_missing(plan, AnsweringBroker(answers), print)


def listing(*queues, bindings=(BINDING,)):
    found = {one.name: one for one in queues}
    return Listing({"re": FoundExchange("re", "topic", True)}, found, frozenset(bindings))


def test_listing_tells_everything():
    there = FoundQueue("worker.a", True, arguments={"x-max-length": 5})
    assert plan_by_listing(FILE, listing(there)).is_same
    others = (
        FoundQueue("worker.old", True, messages=3, consumers=1),
        FoundQueue("worker.of.a.connection", False, exclusive=True),
        FoundQueue("worker.a.retry.5s", True),
        FoundQueue("worker.b.retry.5s", True),
        FoundQueue(f"worker.code.{'0' * 24}", True, messages=1),
        FoundQueue(f"worker.code.{'0' * 24}.retry.5s", True),
        FoundQueue("worker.code.heavy", True),
        FoundQueue("re.output", True),
    )
    stray = (BindingSpec("amq.topic", "worker.a", "x"), BindingSpec("re", "re.output", "output"))
    plan = plan_by_listing(FILE, listing(there, *others, bindings=stray))
    assert states(plan) == {
        "re": State.SAME,
        "worker.a": State.SAME,
        "re --worker.a--> worker.a": State.CREATE,
        "worker.b.retry.5s": State.EXTRA,
        "worker.code.heavy": State.EXTRA,
        "worker.old": State.EXTRA,
        "amq.topic --x--> worker.a": State.EXTRA,
    }
    (old,) = [one for one in plan.of(State.EXTRA) if one.name == "worker.old"]
    assert old.note == "3 messages, 1 consumers"
    assert plan.unseen == ()


def test_missing_things_are_made_in_order_and_told():
    broker, made = AnsweringBroker(), []
    plan = plan_by_listing(FILE, Listing({}, {}, frozenset()))
    make_missing(plan, broker, made.append)
    assert [one[0] for one in broker.asked] == ["declare_exchange", "declare_queue", "bind"]
    assert made == list(plan.entries)


def test_refusal_ends_the_making_and_says_what_to_do():
    broker, made = AnsweringBroker({("declare_queue", "worker.a"): Answer(403, "ACCESS_REFUSED")}), []
    plan = plan_by_listing(FILE, Listing({}, {}, frozenset()))
    with pytest.raises(
        TopologyMismatch, match=r"worker\.a: broker answered 403 .*reworker topology permissions"
    ):
        make_missing(plan, broker, made.append)
    assert [one.name for one in made] == ["re"]


@pytest.mark.parametrize(
    ("thing", "asked"),
    [
        (QUEUE, ("delete_queue", "worker.a", True)),
        (EXCHANGE, ("delete_exchange", "re", True)),
        (BINDING, ("unbind", BINDING)),
    ],
)
def test_everything_can_be_deleted(thing, asked):
    broker = AnsweringBroker()
    assert delete(Entry(state=State.EXTRA, thing=thing), broker, is_forced=True) == ""
    assert broker.asked == [asked]


def test_reason_is_told_when_the_broker_keeps_something():
    broker = AnsweringBroker({("delete_queue", "worker.a"): Answer(406, "not empty")})
    assert delete(Entry(state=State.EXTRA, thing=QUEUE), broker, is_forced=False) == "not empty"


def test_named_things_must_not_be_as_the_file_says():
    plan = plan_by_asking(FILE, AnsweringBroker({("declare_queue", "worker.a"): Answer(406, "no")}))
    doomed = named_entries(FILE, plan, ["other"], ["worker.a"])
    assert [(one.kind, one.name, one.state) for one in doomed] == [
        ("queue", "worker.a", State.DIFFERS),
        ("exchange", "other", State.EXTRA),
    ]
    with pytest.raises(ConfigError, match=r"t\.yaml:2: re: the file has it"):
        named_entries(FILE, plan, ["re"], [])


def test_report_has_a_mark_for_every_state_and_counts_them():
    entries = [Entry(state=state, thing=QueueSpec(f"q-{state.value}")) for state in State]
    lines = list(lines_of(Plan(entries=tuple(entries), unseen=("nothing",)), "t.yaml"))
    assert [line for line in lines if line[1:2] == " " and "queue" in line] == [
        "+ queue q-create",
        "= queue q-same",
        "! queue q-differs",
        "- queue q-extra",
        "? queue q-unseen",
    ]
    assert lines[-2] == "not seen: nothing"
    assert lines[-1] == "1 to create, 1 as in the file, 1 different, 1 not in the file, 1 not seen"


def test_report_in_json_has_all_of_it():
    difference = Difference("durable", "true", "false")
    entry = Entry(state=State.DIFFERS, thing=EXCHANGE, line=2, differences=(difference,))
    assert json_of(Plan(entries=(entry,), unseen=("x",)), "t.yaml", made=[]) == {
        "is_same": False,
        "entries": [
            {
                "state": "differs",
                "kind": "exchange",
                "name": "re",
                "line": 2,
                "differences": [{"name": "durable", "expected": "true", "found": "false"}],
                "note": "",
                "advice": advice_of(entry, "t.yaml"),
            }
        ],
        "unseen": ["x"],
        "made": [],
    }


def test_command_in_an_advice_can_be_typed_as_it_stands():
    difference = Difference("durable", "true", "false")
    entry = Entry(state=State.DIFFERS, thing=QueueSpec("a b;rm"), line=2, differences=(difference,))
    assert "prune -f 'my file.yaml' --queue 'a b;rm'" in advice_of(entry, "my file.yaml")


def test_queue_stays_when_a_worker_has_a_message_of_it_in_hand():
    broker = AnsweringBroker()
    found = FoundQueue("worker.old", True, messages=1)
    listing = Listing(exchanges={}, queues={"worker.old": found}, bindings=frozenset())
    (entry,) = plan_by_listing(FILE, listing).of(State.EXTRA)
    assert "1 messages that a worker has in hand" in delete(entry, broker, is_forced=False, in_hand_count=1)
    assert broker.asked == []
    assert delete(entry, broker, is_forced=True, in_hand_count=1) == ""
    assert broker.asked == [("delete_queue", "worker.old", True)]
