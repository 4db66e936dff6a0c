"""The picture of a deployment: what stands in each cell, and how many hosts are folded."""

from __future__ import annotations

from typing import Any

import pytest

from reworker.fsm.deployment import Attempt, Deployment
from reworker.fsm.parsing import parse
from reworker.fsm.plan import Plan, Role, compile_plan
from reworker.fsm.states import AttemptStatus, DeploymentStatus
from reworker.storage.rows import MarkRow
from reworker.web.pages.deployment_cells import Cell, cells_of
from reworker.web.pages.deployment_matrix import (
    PAGE_ROW_COUNT,
    SEQUENCE_COUNT,
    MatrixQuery,
    SequenceView,
    legend,
    matrix,
    stripes,
)

OWN = "0" * 24


def plan_of(host_count: int = 3, step_count: int = 4, sequence_count: int = 1) -> Plan:
    hosts = [f"web{number}" for number in range(host_count)]
    steps = [f"noop:Do{number}" for number in range(step_count)]
    sequence = f"- hosts: {hosts}\n  steps: {steps}\n"
    text = f"group: g\nname: n\nlocks: false\nexecution:\n{sequence * sequence_count}"
    return compile_plan(parse(text, source="test"), {})


def mark(number: int, index: int, status: str, role: str = "step", percent: float | None = None) -> MarkRow:
    return MarkRow(number, index, role, status, percent)


def drawn(plan: Plan, cells: bytearray, *, is_over: bool = False, **asked: Any) -> list[SequenceView]:
    return matrix(plan, cells, is_over=is_over, percents={}, query=MatrixQuery(**asked))


def test_cells_hold_what_the_snapshot_and_the_marks_say() -> None:
    state = Deployment(
        id=OWN,
        status=DeploymentStatus.RUNNING,
        completed=((0, 2), (4, 5)),
        left_out=((6, 7),),
        attempts=(
            Attempt(number=5, step_index=2, status=AttemptStatus.STARTED),
            Attempt(number=6, step_index=3, role=Role.APPROVAL, status=AttemptStatus.WAITING),
            Attempt(number=7, step_index=8, status=AttemptStatus.UNKNOWN),
        ),
    )
    marks = [mark(3, 4, "failed"), mark(4, 5, "timed_out"), mark(5, 2, "started"), mark(8, 7, "skipped")]
    cells = cells_of(10, state, marks, done_before=((0, 1),))
    assert list(cells) == [
        *(Cell.DONE_BEFORE, Cell.DONE, Cell.STARTED, Cell.APPROVAL, Cell.DONE),
        *(Cell.TIMED_OUT, Cell.LEFT_OUT, Cell.SKIPPED, Cell.DOUBT, Cell.PENDING),
    ]


def test_cell_is_the_rollback_when_its_step_was_taken_back() -> None:
    state = Deployment(
        id=OWN,
        completed=((0, 3),),
        attempts=(Attempt(number=9, step_index=0, role=Role.ROLLBACK, status=AttemptStatus.SENT),),
    )
    marks = [
        mark(7, 2, "completed", "rollback"),
        mark(8, 1, "failed", "rollback"),
        mark(9, 0, "sent", "rollback"),
    ]
    assert list(cells_of(3, state, marks, ())) == [
        Cell.ROLLING_BACK,
        Cell.NOT_TAKEN_BACK,
        Cell.ROLLED_BACK,
    ]


def test_cell_ignores_a_verification_when_its_step_is_in_doubt() -> None:
    state = Deployment(id=OWN)
    marks = [mark(1, 0, "unknown"), mark(2, 0, "failed", "verify")]
    assert list(cells_of(1, state, marks, ())) == [Cell.UNKNOWN]


@pytest.mark.parametrize(
    ("row", "is_over", "group"),
    [
        ((Cell.DONE, Cell.APPROVAL, Cell.PENDING), False, "ask"),
        ((Cell.DONE, Cell.FAILED, Cell.PENDING), False, "bad"),
        ((Cell.DONE, Cell.SENT, Cell.PENDING), False, "live"),
        ((Cell.DONE, Cell.PENDING, Cell.PENDING), False, "live"),
        ((Cell.DONE, Cell.PENDING, Cell.PENDING), True, "stopped"),
        ((Cell.DONE, Cell.CANCELLED, Cell.PENDING), False, "stopped"),
        ((Cell.ROLLED_BACK, Cell.DONE, Cell.PENDING), False, "back"),
        ((Cell.PENDING, Cell.PENDING, Cell.PENDING), False, "plain"),
        ((Cell.DONE, Cell.SKIPPED, Cell.DONE_BEFORE), False, "good"),
        ((Cell.LEFT_OUT, Cell.LEFT_OUT, Cell.LEFT_OUT), False, "good"),
    ],
)
def test_host_is_in_the_group_of_its_worst_cell(row: tuple[Cell, ...], is_over: bool, group: str) -> None:
    (view,) = drawn(plan_of(1, 3), bytearray(row), is_over=is_over)
    assert [one.name for one in view.groups] == [group]


def test_groups_come_worst_first_and_hosts_in_order() -> None:
    done, failed, open_ = bytes([Cell.DONE] * 4), bytes([Cell.DONE, Cell.FAILED, 0, 0]), bytes(4)
    cells = bytearray(done + failed + open_ + failed)
    (view,) = drawn(plan_of(4), cells)
    named = [(one.name, [row.name for row in one.rows]) for one in view.groups]
    assert named == [("bad", ["web1", "web3"]), ("plain", ["web2"]), ("good", ["web0"])]
    assert view.words == "2 failed, 1 not begun, 1 completed"


def test_few_columns_have_a_cell_each_and_many_are_joined() -> None:
    row = bytes([Cell.DONE] * 3 + [Cell.FAILED] + [Cell.PENDING] * 4)
    (narrow,) = drawn(plan_of(1, 8), bytearray(row))
    (wide,) = drawn(plan_of(1, 9), bytearray(row + b"\0"))
    assert [run.count for run in narrow.groups[0].rows[0].runs] == [1] * 8
    runs = wide.groups[0].rows[0].runs
    assert [(run.offset, run.count, run.look.words) for run in runs] == [
        (0, 3, "completed"),
        (3, 1, "failed"),
        (4, 5, "not begun"),
    ]
    assert sum(run.count for run in runs) == 9


def test_sequence_is_folded_when_it_has_many_hosts() -> None:
    cells = bytearray(bytes([Cell.DONE] * 4) * 900 + bytes([Cell.STARTED, 0, 0, 0]) * 50 + bytes(4 * 50))
    (view,) = drawn(plan_of(1000), cells)
    assert view.is_folded
    shown = {one.name: (one.count, len(one.rows)) for one in view.groups}
    assert shown == {"live": (50, 16), "plain": (50, 0), "good": (900, 0)}
    assert [count for _, count in view.steps[0].counts] == [50, 900, 50]


def test_pages_of_a_narrow_question_have_every_host_once() -> None:
    plan, cells = plan_of(300), bytearray(4 * 300)
    found = []
    for page in (1, 2, 3):
        (view,) = drawn(plan, cells, group="plain", page=page)
        found += [row.name for one in view.groups for row in one.rows]
        assert len(view.groups[0].rows) <= PAGE_ROW_COUNT
    assert found == [f"web{number}" for number in range(300)]


def test_host_is_found_by_a_part_of_its_name_in_any_case() -> None:
    (view,) = drawn(plan_of(20), bytearray(80), host="WEB1")
    assert [row.name for row in view.groups[0].rows] == [
        "web1",
        *(f"web{number}" for number in range(10, 20)),
    ]


def test_calm_sequences_have_no_rows_when_there_are_many() -> None:
    plan = plan_of(10, 2, sequence_count=40)
    cells = bytearray(bytes([Cell.DONE] * 20) * 20 + bytes([Cell.STARTED, 0] * 10) + bytes(20 * 19))
    views = drawn(plan, cells)
    assert len(views) == 40 > SEQUENCE_COUNT
    assert [one.number for one in views if one.has_rows] == [21]


def test_stripes_draw_every_run_and_show_a_single_failure() -> None:
    column = bytes([Cell.DONE] * 500 + [Cell.FAILED] + [Cell.PENDING] * 499)
    assert dict(stripes(column)) == {"good": "M0 0h500v1h-500z", "bad": "M500 0h4v1h-4z"}


def test_legend_names_what_is_there() -> None:
    views = drawn(plan_of(1, 3), bytearray([Cell.DONE, Cell.FAILED, Cell.PENDING]))
    assert [look.words for look in legend(views)] == ["not begun", "completed", "failed"]
