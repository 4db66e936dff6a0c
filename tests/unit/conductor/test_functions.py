"""Functions as workers: what they are given, what becomes of what they return, and the decorator."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import sys
import types
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from reworker.conductor import (
    Task,
    TaskInProgress,
    TaskResult,
    TaskResultStatus,
    Worker,
    WorkerImpl,
    WorkerTask,
    get_task_context,
)
from reworker.conductor.functions import decorated_workers, workers_in
from reworker.errors import ConfigError, JobFailed
from tests.unit.conductor.kit import LEVEL_2, Styled, body, function, performed, station_of


@dataclasses.dataclass
class Order:
    """An input with parts."""

    number: int
    color: str = "red"


class Plain:
    """Made of a mapping's values."""

    def __init__(self, number: int) -> None:
        self.number = number


class Color(enum.Enum):
    """A hint that is a choice."""

    RED = "red"


# what a function is given


def by_name(speed: int, color: str = "red", size: float | None = None) -> Any:
    return [speed, color, size]


def with_order(order: Order) -> Any:
    return [type(order).__name__, order.number, order.color]


def with_orders(orders: list[Order], first: Order | None = None) -> Any:
    return [[one.number for one in orders], first]


def with_plain(plain: Plain) -> Any:
    return plain.number


def with_color(color: Color) -> Any:
    return color is Color.RED


def with_optional(color: str | None) -> Any:
    return color


def with_rest(speed: int, **rest: Any) -> Any:
    return [speed, sorted(rest)]


def with_task(task: Task) -> Any:
    return task.task_def_name


def with_task_and_value(speed: int, task: Task) -> Any:
    return [speed, task.task_def_name]


def with_all(input_data: dict[str, Any]) -> Any:
    return input_data["speed"]


def with_all_unsaid(everything) -> Any:  # type: ignore[no-untyped-def]  # as people write it
    return everything["speed"]


def with_mapping(given: Mapping[str, Any]) -> Any:
    return given["speed"]


def without() -> Any:
    return "nothing"


@pytest.mark.parametrize(
    ("called", "given", "expected"),
    [
        (by_name, {"speed": 3}, [3, "red", None]),
        (by_name, {"speed": "3", "color": "blue", "size": 1}, [3, "blue", 1.0]),
        (with_order, {"order": {"number": 1, "color": "blue"}}, ["Order", 1, "blue"]),
        (with_orders, {"orders": [{"number": 1}, {"number": 2}]}, [[1, 2], None]),
        (with_plain, {"plain": {"number": 4}}, 4),
        (with_color, {"color": "red"}, True),
        (with_optional, {}, None),
        (with_rest, {"speed": 1, "a": 2}, [1, ["a", "command", "hosts", "subcommand"]]),
        (with_task, {}, "frob"),
        (with_task_and_value, {"speed": 2}, [2, "frob"]),
        (with_all, {"speed": 2}, 2),
        (with_all_unsaid, {"speed": 2}, 2),
        (with_mapping, {"speed": 2}, 2),
        (without, {"speed": 2}, "nothing"),
        (partial(by_name, color="green"), {"speed": 1}, [1, "green", None]),
    ],
)
def test_function_gets_what_its_parameters_say(called: Any, given: Any, expected: Any) -> None:
    transcript = performed(Worker("frob", called), **given)
    assert transcript.data == {"result": expected}


@pytest.mark.parametrize(
    ("called", "given", "text"),
    [
        (by_name, {}, "speed: missing"),
        (by_name, {"speed": "fast", "size": "big"}, "speed: Expected `int`, got `str`; size: "),
        (with_order, {"order": {"color": "red"}}, "order: Object missing required field `number`"),
        (with_color, {"color": "pink"}, "color: Invalid enum value 'pink'"),
    ],
)
def test_step_fails_before_it_begins_when_the_input_does_not_fit(called: Any, given: Any, text: str) -> None:
    transcript = performed(Worker("frob", called), **given)
    assert transcript.statuses == ["failed"]
    assert transcript.message.startswith("wrong input for frob: ")
    assert text in transcript.message


def test_execute_says_what_does_not_fit_when_a_test_calls_it() -> None:
    with pytest.raises(JobFailed, match="wrong input for frob: speed: missing"):
        Worker("frob", by_name).execute(Task(task_def_name="frob", input_data={}))


def test_hint_that_cannot_be_understood_leaves_the_others_alone() -> None:
    def local(task: Task, speed: int, other: Unknown) -> Missing:  # type: ignore[name-defined]  # noqa: F821  on purpose
        return [task.task_def_name, speed, other]

    assert performed(Worker("frob", local), speed="3", other="x").data == {"result": ["frob", 3, "x"]}


# what becomes of what it returns


@pytest.mark.parametrize(
    ("returned", "data"),
    [
        ({"a": 1}, {"a": 1}),
        (None, {"result": None}),
        (Order(1), {"number": 1, "color": "red"}),
        (
            {1: Color.RED, "when": datetime(2026, 1, 2, tzinfo=UTC)},
            {"1": "red", "when": "2026-01-02T00:00:00Z"},
        ),
        ([Order(1)], {"result": [{"number": 1, "color": "red"}]}),
    ],
)
def test_output_is_plain_data_whatever_was_returned(returned: Any, data: Any) -> None:
    assert performed(Worker("frob", lambda: returned)).data == data


def test_output_is_text_where_json_knows_no_better() -> None:
    class Response:
        def __str__(self) -> str:
            return "200 OK"

    class Model:
        def to_dict(self) -> dict[str, Any]:
            return {"a": 1}

    found = performed(Worker("frob", lambda: {"response": Response(), "model": Model()}))
    assert found.data == {"response": "200 OK", "model": {"a": 1}}
    endless: dict[str, Any] = {}
    endless["self"] = endless
    assert performed(Worker("frob", lambda: endless)).data == {"result": "{'self': {...}}"}


def test_result_of_a_function_is_that_of_its_task() -> None:
    def made() -> TaskResult:
        return TaskResult(status=TaskResultStatus.FAILED, reason_for_incompletion="no")

    task = Task(task_id="t", workflow_instance_id="w")
    found: Any = Worker("frob", made).execute(task)
    assert (found.task_id, found.workflow_instance_id) == ("t", "w")
    assert performed(Worker("frob", made)).message == "no"


def test_function_goes_on_later_when_it_says_so() -> None:
    assert performed(Worker("frob", lambda: TaskInProgress(1))).statuses == ["started", "running"]


# coroutines


@function()
async def later(number: int) -> dict[str, Any]:
    await asyncio.sleep(0)
    return {
        "number": number,
        "loop": id(asyncio.get_running_loop()),
        "task": get_task_context().get_task_id(),
    }


class LaterStyled(Styled):
    """Has an execute that is awaited."""

    async def execute(self, task: Task) -> Any:
        await asyncio.sleep(0)
        return self.get_task_result_from_task(task) if self.answer is None else self.answer


def test_coroutines_of_a_process_share_one_loop_and_know_their_task() -> None:
    harness = station_of(later)
    sent = [harness.delivery(body(number=n), headers=LEVEL_2, correlation_id=f"task {n}") for n in (1, 2)]
    found = [harness.run(one).data for one in sent]
    assert [one["number"] for one in found] == [1, 2]
    assert found[0]["loop"] == found[1]["loop"]
    assert [one["task"] for one in found] == ["task 1", "task 2"]


def test_class_with_an_async_execute_works() -> None:
    assert performed(LaterStyled({"a": 1})).data == {"a": 1}
    assert (
        performed(LaterStyled()).message
        == "the TaskResult of LaterStyled has no status; set it before it is returned"
    )


def test_error_of_a_coroutine_fails_its_step() -> None:
    async def broken() -> None:
        raise OSError("no disk")

    assert performed(Worker("frob", broken)).message == "OSError: no disk"


# the decorator, and the constructor


def test_decorated_function_can_be_called_as_before() -> None:
    @function(thread_count=3, domain="eu", poll_interval_millis=5)
    def doubled(number: int) -> int:
        """Double it."""
        return 2 * number

    assert doubled(4) == 8
    assert doubled.__doc__ == "Double it."
    (worker,) = workers_in(doubled)
    assert (worker.thread_count, worker.domain, worker.poll_interval) == (3, "eu", 5)
    assert doubled.worker_class().__name__ == "frobWorker"


def test_function_decorated_twice_is_of_two_types() -> None:
    @function()
    @WorkerTask("again")
    def both() -> None:
        pass

    assert [one.task_definition_names for one in workers_in(both)] == [["again"], ["frob"]]


def test_older_names_of_the_interval_are_known() -> None:
    assert workers_in(WorkerTask("a", poll_interval=7)(lambda: None))[0].poll_interval == 7
    assert workers_in(WorkerTask("a", poll_interval_seconds=2)(lambda: None))[0].poll_interval == 2000


def test_decorated_functions_of_imported_modules_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = types.ModuleType("one_of_test"), types.ModuleType("other_of_test")
    one.decorated = other.imported = function()(lambda: None)  # type: ignore[attr-defined]  # they are modules of a test
    monkeypatch.setitem(sys.modules, one.__name__, one)
    monkeypatch.setitem(sys.modules, other.__name__, other)
    found = decorated_workers()
    (worker,) = workers_in(one.decorated)
    assert found.count(worker) == 1


@pytest.mark.parametrize("kind", [Worker, WorkerImpl])
def test_options_of_the_sdks_are_taken_and_others_refused(kind: Any) -> None:
    kind("a", without, 100, "eu", "me", 2, register_task_def=True, lease_extend_enabled=True, poll_timeout=5)
    with pytest.raises(TypeError, match="worker a: unknown option register_taskdef"):
        kind("a", without, register_taskdef=True)
    with pytest.raises(TypeError, match="needs a function"):
        kind("a", "without")


def test_worker_id_is_who_executes_when_it_is_given() -> None:
    def who(task: Task) -> Any:
        return task.worker_id

    assert performed(Worker("frob", who, worker_id="me")).data == {"result": "me"}


def test_worker_of_several_types_has_a_class_for_each() -> None:
    worker = Worker(["a", "b"], without)
    assert worker.get_task_definition_name() == "a"
    worker.clear_task_definition_name_cache()
    assert worker.get_task_definition_name() == "b"
    assert worker.worker_class("b").task_type == "b"
    with pytest.raises(ConfigError, match="has the types a, b"):
        worker.worker_class()


def test_type_is_what_an_overridden_method_says() -> None:
    class Own(Styled):
        def get_task_definition_name(self) -> str:
            return "own_type"

    assert Own().worker_class().task_type == "own_type"
