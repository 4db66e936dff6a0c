"""Methods marked @step: their form, their parameters, their schema."""

from __future__ import annotations

import datetime
import enum
from typing import Annotated, Any

import jsonschema
import msgspec
import pytest

from reworker.testing import Harness, deliver
from reworker.worker import Job, Worker, step


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class FrobWorker(Worker):
    @step("Frob", idempotent=True, timeout_s=300)
    def frob(
        self,
        job: Job,
        *,
        color: Color,
        speed: Annotated[int, msgspec.Meta(ge=1)] = 1,
        ratio: float = 1.0,
        on: datetime.date | None = None,
        tags: frozenset[str] = frozenset(),
    ) -> Any:
        """Frob the hosts.

        More words.
        """
        return {"color": color.value, "speed": speed, "ratio": ratio, "on": on, "tags": sorted(tags)}

    @step("Any")
    def anything(self, job: Job, *, size: int = 0, **others: Any) -> Any:
        return {"size": size, **others}


def test_parameters_arrive_with_their_types_when_right() -> None:
    given = {"color": "red", "speed": 3, "ratio": 2, "on": "2026-01-02", "tags": ["b", "a"]}
    data = deliver(FrobWorker, "frob:Frob", given).data
    assert data == {"color": "red", "speed": 3, "ratio": 2.0, "on": "2026-01-02", "tags": ["a", "b"]}


def test_every_problem_is_named_and_nothing_started_when_parameters_are_wrong() -> None:
    transcript = deliver(FrobWorker, "frob:Frob", {"speed": "3", "ratio": "x", "tag": 1, "on": "never"})
    assert transcript.statuses == ["failed"]
    for text in ("color: missing", "speed: Expected `int`", "ratio: Expected `float`", "on: Invalid"):
        assert text in transcript.message
    assert "tag: unknown parameter (did you mean 'tags'?)" in transcript.message


@pytest.mark.parametrize(
    ("value", "reason"), [(0, "Expected `int` >= 1"), (True, "got `bool`"), (1.5, "float")]
)
def test_value_is_refused_when_a_hint_forbids_it(value: Any, reason: str) -> None:
    assert reason in deliver(FrobWorker, "frob:Frob", {"color": "red", "speed": value}).message


def test_unknown_subcommand_is_named_with_a_suggestion_when_misspelt() -> None:
    transcript = deliver(FrobWorker, "frob:Frobb")
    assert transcript.statuses == ["failed"]
    assert "unknown subcommand 'Frobb' (did you mean 'Frob'?); known: Any, Frob" in transcript.message


@pytest.mark.parametrize("subcommand", [None, 3, ["Frob"]])
def test_subcommand_is_refused_when_it_is_no_text(subcommand: Any) -> None:
    from reworker.testing import Harness

    harness = Harness(FrobWorker)
    transcript = harness.run(harness.delivery({"parameters": {"subcommand": subcommand}}))
    assert transcript.statuses == ["failed"]


@pytest.mark.parametrize("hosts", [1, "web1", [1], [["a"]], {"a": 1}])
def test_hosts_are_refused_when_they_are_no_list_of_texts(hosts: Any) -> None:
    class Hosting(Worker):
        @step("Do")
        def do(self, job: Job) -> str:
            return ",".join(job.hosts)

    harness = Harness(Hosting)
    wrong = harness.run(harness.delivery({"parameters": {"subcommand": "Do", "hosts": hosts}}))
    assert wrong.statuses == ["failed"]
    assert "hosts: expected a list of texts" in wrong.message
    for none in (None, []):
        right = harness.run(harness.delivery({"parameters": {"subcommand": "Do", "hosts": none}}))
        assert right.data == ""


def test_dynamic_value_fills_a_parameter_and_may_be_text_when_the_step_has_none() -> None:
    message = {"dynamic": {"color": "blue", "speed": "4", "elsewhere": 1}}
    data = deliver(FrobWorker, "frob:Frob", message=message).data
    assert (data["color"], data["speed"]) == ("blue", 4)


@pytest.mark.parametrize(("listed", "expected"), [([], 2), (["speed"], 4)])
def test_dynamic_value_wins_when_the_step_lists_its_name(listed: list[str], expected: int) -> None:
    parameters = {"color": "red", "speed": 2, "dynamic": listed}
    message = {"dynamic": {"speed": 4}}
    assert deliver(FrobWorker, "frob:Frob", parameters, message=message).data["speed"] == expected


def test_other_parameters_pass_when_the_step_takes_any() -> None:
    data = deliver(FrobWorker, "frob:Any", {"size": 1, "x": [1], "notify": {}}).data
    assert data == {"size": 1, "x": [1]}


def test_step_is_found_when_a_base_class_has_it() -> None:
    class Child(FrobWorker):
        pass

    assert deliver(Child, "child:Any").data == {"size": 0}


def test_step_is_replaced_when_a_subclass_overrides_it() -> None:
    class Child(FrobWorker):
        @step("Any")
        def anything(self, job: Job, *, size: int = 0, **others: Any) -> Any:
            return "mine"

    assert deliver(Child, "child:Any").data == "mine"


def test_two_methods_of_one_name_are_refused_when_the_worker_is_made() -> None:
    class Twice(Worker):
        @step("Do")
        def one(self, job: Job) -> None:
            """One."""

        @step("Do")
        def two(self, job: Job) -> None:
            """Two."""

    with pytest.raises(TypeError, match="two methods are the step 'Do'"):
        Twice({"server": "x"})


def test_method_is_refused_when_it_has_another_form() -> None:
    with pytest.raises(TypeError, match=r"\(self, job, \*, parameter, ...\)"):

        @step("Do")
        def do(self: Any, job: Job, size: int) -> None:
            """Wrong."""


def test_hint_is_refused_when_it_names_nothing() -> None:
    class Wrong(Worker):
        @step("Do")
        def do(self, job: Job, *, size: Nothing) -> None:  # type: ignore[name-defined]  # noqa: F821  missing on purpose
            """Wrong."""

    with pytest.raises(TypeError, match="hint of the step 'Do'"):
        Wrong({"server": "x"})


def test_schema_describes_the_steps_when_asked() -> None:
    schema = FrobWorker.schema()
    frob = schema["steps"]["Frob"]
    assert (schema["worker"], frob["description"], frob["idempotent"], frob["timeout_s"]) == (
        "FrobWorker",
        "Frob the hosts.",
        True,
        300,
    )
    jsonschema.validate({"color": "red", "speed": 2}, frob["parameters"])
    for wrong in ({"speed": 2}, {"color": "red", "speed": 0}, {"color": "red", "colour": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, frob["parameters"])
    jsonschema.validate({"anything": 1}, schema["steps"]["Any"]["parameters"])
