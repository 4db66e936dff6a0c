"""How sequences are run: in which parts, after which others, and what may be said of earlier steps."""

from __future__ import annotations

import json

import pytest

from reworker.fsm.parsing import examine, parse, problems
from reworker.fsm.plan import compile_plan
from tests.unit.fsm.playbook_texts import build, refused


def playbook(*sequences):
    """Return a playbook's text; a sequence has one host and one step unless it says otherwise."""
    whole = [{"hosts": ["web1"], "steps": ["noop:Run"], **one} for one in sequences]
    return json.dumps({"group": "g", "name": "n", "execution": whole})


def strategy(count=10, **values):
    return build(hosts=[f"h{number}" for number in range(count)], strategy=values)


def step(own_id="", **controls):
    return {"a:B": {}, **({"id": own_id} if own_id else {}), **controls}


@pytest.mark.parametrize(
    ("batch", "count", "expected"),
    [
        *((1, 10, 1), (3, 10, 3), (10, 10, 10), (50, 10, 10), (100_000, 10, 10)),
        *(("25%", 10, 3), ("1%", 10, 1), ("100%", 10, 10), ("100 %", 10, 10), ("50%", 1, 1), ("33%", 3, 1)),
    ],
)
def test_parse_gives_hosts_at_once_when_batch_is_given(batch, count, expected):
    assert parse(strategy(count, batch=batch)).execution[0].batch_count == expected


@pytest.mark.parametrize(
    ("failures", "count", "expected"),
    [
        *((0, 10, 0), (1, 10, 1), (50, 10, 10)),
        *(("10%", 19, 1), ("0%", 10, 0), ("9%", 10, 0), ("100%", 3, 3)),
    ],
)
def test_parse_gives_failures_allowed_when_max_failures_is_given(failures, count, expected):
    assert parse(strategy(count, max_failures=failures)).execution[0].max_failure_count == expected


def test_parse_runs_one_host_at_a_time_when_there_is_no_strategy():
    (found,) = parse(build(hosts=["a", "b"])).execution
    assert (found.batch_count, found.max_failure_count, found.needs) == (1, 0, None)


@pytest.mark.parametrize(
    "value",
    [
        -1,
        1.5,
        2.0,
        100_001,
        2**62,
        "101%",
        "101 %",
        "1.5%",
        "-5%",
        "%",
        "2",
        "",
        "٣%",
        "1000%",
        True,
        None,
        [2],
        {},
    ],
)
@pytest.mark.parametrize("key", ["batch", "max_failures"])
def test_parse_refuses_strategy_when_value_is_no_number_of_hosts(key, value):
    refused(strategy(**{key: value}), "is no number of hosts", f"execution[0].strategy.{key}")


@pytest.mark.parametrize("value", [0, "0%", "00 %"])
def test_parse_refuses_batch_when_it_is_nothing(value):
    refused(strategy(batch=value), "from 1 to 100000, or a percentage from 1% to 100%")


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (2, "a strategy must be a mapping, not 2"),
        ("25%", "a strategy must be a mapping, not '25%'"),
        (None, "not nothing"),
        ([], "not a list"),
        ({}, "a strategy has batch or max_failures"),
        ({"bach": 1}, "unknown key 'bach'; did you mean 'batch'?"),
    ],
)
def test_parse_refuses_strategy_when_form_is_wrong(value, part):
    refused(build(strategy=value), part, "execution[0].strategy")


def test_problems_names_only_the_hosts_when_they_are_wrong_beside_a_strategy():
    assert len(problems(build(hosts=[], strategy={"batch": "50%", "max_failures": "10%"}))) == 1


def test_plan_knows_who_waits_for_whom_when_sequences_need_others():
    text = playbook(
        {"id": "a"},
        {"id": "b", "needs": []},
        {"id": "c"},
        {"id": "d", "needs": ["a", "b"]},
        {"needs": ["e"]},
        {"id": "e", "needs": []},
    )
    found = parse(text)
    assert [one.needs for one in found.execution] == [None, (), None, ("a", "b"), ("e",), ()]
    assert compile_plan(found, {}).needs == ((), (), (1,), (0, 1), (5,), ())


@pytest.mark.parametrize(
    ("needs", "part"),
    [
        (["slef"], "no sequence has the id 'slef'; did you mean 'self'?"),
        (["xyz"], "no sequence has the id 'xyz'; known: first, self"),
        (["self"], "the sequence 'self' needs itself"),
        (["changed"], "'changed' is the id of a step; a sequence needs sequences"),
        (["first", "first"], "'first' is listed twice"),
        ([3], "must be text, not 3"),
        ([None], "must be text, not nothing"),
        ([["first"]], "must be text, not a list"),
        (["a b"], "'a b' may hold only letters"),
        ([""], "'' may hold only letters"),
    ],
)
def test_parse_refuses_needs_when_it_names_no_other_sequence(needs, part):
    text = playbook({"id": "first"}, {"id": "self", "needs": needs, "steps": [step("changed")]})
    assert len(problems(text)) == 1
    assert refused(text, part).path.startswith("execution[1].needs[")


@pytest.mark.parametrize("needs", ["first", None, 3, {"first": 1}, True])
def test_parse_refuses_needs_when_it_is_no_list(needs):
    found = refused(
        playbook({"id": "first"}, {"needs": needs}), "needs must be a list of ids", "execution[1].needs"
    )
    assert "[] starts at once" in found.reason


def test_parse_says_that_there_is_no_id_when_no_sequence_has_one():
    refused(playbook({}, {"needs": ["x"]}), "no sequence has the id 'x'; there is no id")


@pytest.mark.parametrize(
    ("sequences", "cycle"),
    [
        ([{"id": "a", "needs": ["b"]}, {"id": "b", "needs": ["a"]}], ("a -> b -> a", "b -> a -> b")),
        (
            [{"id": "a", "needs": ["c"]}, {"id": "b", "needs": ["a"]}, {"id": "c", "needs": ["b"]}],
            ("a -> c -> b -> a", "b -> a -> c -> b", "c -> b -> a -> c"),
        ),
        (
            [{"id": "a", "needs": ["c"]}, {}, {"id": "c"}],
            (
                "a -> c -> execution[1] -> a",
                "c -> execution[1] -> a -> c",
                "execution[1] -> a -> c -> execution[1]",
            ),
        ),
    ],
)
def test_parse_shows_the_circle_when_sequences_wait_for_each_other(sequences, cycle):
    found = refused(playbook(*sequences), "sequences wait for each other: ", "execution[0].needs")
    assert found.reason.partition(": ")[2].partition(";")[0] in cycle
    assert ("waits for the one written before" in found.reason) == ("execution" in cycle[0])


def test_parse_shows_the_line_of_the_sequence_when_there_is_a_circle():
    text = "group: g\nname: n\nexecution:\n- {hosts: [a], steps: ['a:B']}\n"
    text += "- id: x\n  needs: [y]\n  hosts: [a]\n  steps: ['a:B']\n- {id: y, hosts: [a], steps: ['a:B']}\n"
    assert refused(text, "wait for each other").line == 5


def test_parse_shows_a_part_of_the_circle_when_it_is_long():
    sequences = [{"id": "first", "needs": ["last"]}, *({} for _ in range(1000)), {"id": "last"}]
    found = refused(playbook(*sequences), "wait for each other")
    assert "-> ... ->" in found.reason
    assert len(found.reason) < 400


def test_parse_notes_preflight_and_ignores_it_when_it_is_there():
    reading = examine(build(preflight={"anything": [1, None]}), "f.yaml")
    assert reading.problems == []
    assert reading.playbook == parse(build())
    (note,) = reading.notes
    assert note.startswith("f.yaml:1: execution[0]: preflight is not used")


def test_examine_keeps_no_more_than_100_notes_when_everything_is_noted():
    assert len(examine(playbook(*({"preflight": 1} for _ in range(200)))).notes) == 100


@pytest.mark.parametrize(
    "sequences",
    [
        [{"steps": [step("x"), step(when="x")]}],
        [{"steps": [step("x")]}, {"steps": [step(when="not x")]}],
        [{"steps": [step("x")]}, {}, {"steps": [step(when={"step": "x", "data": {"a": 1}})]}],
        [
            {"id": "a", "steps": [step("x")]},
            {"id": "b", "needs": ["a"]},
            {"needs": ["b"], "steps": [step(when="x")]},
        ],
        [{"steps": [step(when="x")], "needs": ["late"]}, {"id": "late", "needs": [], "steps": [step("x")]}],
        [{"steps": [{"approval": "ok?", "id": "x"}, step(when="x")]}],
        [{"steps": [step("x"), {"approval": "ok?", "when": "x"}]}],
    ],
)
def test_parse_accepts_when_about_what_has_ended(sequences):
    assert problems(playbook(*sequences)) == []


@pytest.mark.parametrize(
    ("sequences", "part"),
    [
        ([{"steps": [step("x", when="x")]}], "'x' is the id of this step"),
        ([{"steps": [step(when="x"), step("x")]}], "'x' is the id of a later step"),
        (
            [{"steps": [step("changed"), step(when="chnged")]}],
            "no step has the id 'chnged'; did you mean 'changed'?",
        ),
        ([{"steps": [step(when="x")]}], "no step has the id 'x'; there is no id"),
        ([{"id": "x", "steps": [step(when="x")]}], "'x' is the id of a sequence; `when` asks for a step"),
        (
            [{"steps": [step(when="x")]}, {"steps": [step("x")]}],
            "'x' need not have ended by then; see `needs`",
        ),
        ([{"steps": [step("x")]}, {"needs": [], "steps": [step(when="x")]}], "need not have ended by then"),
        (
            [{"steps": [step("x")]}, {"id": "b", "needs": []}, {"needs": ["b"], "steps": [step(when="x")]}],
            "need not have ended by then",
        ),
    ],
)
def test_parse_refuses_when_about_what_need_not_have_ended(sequences, part):
    text = playbook(*sequences)
    assert len(problems(text)) == 1
    assert refused(text, part).path.endswith(".when")


def test_problems_gives_unknown_needs_and_unknown_steps_together():
    text = playbook({"needs": ["x"]}, {"needs": ["y"], "steps": [step(when="z"), step(timeout=0)]})
    paths = {found.path for found in problems(text)}
    assert paths == {
        "execution[0].needs[0]",
        "execution[1].needs[0]",
        "execution[1].steps[0].when",
        "execution[1].steps[1].timeout",
    }


def test_parse_refuses_id_when_a_step_and_a_sequence_have_it():
    refused(playbook({"id": "x", "steps": [step("x")]}), "id 'x' is used twice", "execution[0].steps[0].id")


def test_parse_is_quick_when_every_sequence_asks_for_a_step_of_the_first():
    sequences = [{"steps": [step("x")]}, *({"steps": [step(when="x")]} for _ in range(5_000))]
    assert problems(playbook(*sequences)) == []
