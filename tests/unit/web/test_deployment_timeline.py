"""Where the time of attempts went."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from reworker.storage.rows import AttemptRow
from reworker.web.pages.deployment_timeline import OPEN_WIDTH, WIDTH, timeline

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOW = START + timedelta(seconds=100)


def at(seconds: float | None) -> datetime | None:
    return None if seconds is None else START + timedelta(seconds=seconds)


def attempt(number: int = 1, *times: float | None, **fields: object) -> AttemptRow:
    """Return an attempt that was stored, sent, begun and ended after so many seconds."""
    created, sent, started, ended = (*times, None, None, None, None)[:4]
    row = AttemptRow(
        id=f"d.{number}",
        deployment_id="d",
        number=number,
        step_index=0,
        step="noop:Do",
        host="web1",
        status="completed",
        tries=1,
        worker="w",
        message="",
        percent=None,
        data=b"null",
        created_at=at(created) or START,
        sent_at=at(sent),
        started_at=at(started),
        ended_at=at(ended),
    )
    return msgspec.structs.replace(row, **fields)


def parts(row: AttemptRow, *others: AttemptRow) -> dict[str, float]:
    shown = timeline([row, *others], NOW).rows[0]
    return {one.part: one.seconds for one in shown.segments}


def test_time_is_split_into_outbox_queue_work_and_commit() -> None:
    assert parts(attempt(1, 0, 1, 3, 9), attempt(2, 9.5, 10, 11, 12)) == {
        "outbox": 1.0,
        "queue": 2.0,
        "work": 6.0,
        "commit": 0.5,
    }


def test_commit_is_not_known_when_nothing_follows_on_the_host() -> None:
    assert "commit" not in parts(attempt(1, 0, 1, 3, 9), attempt(2, 9.5, 10, host="web2"))


def test_time_goes_on_until_now_when_an_attempt_has_not_ended() -> None:
    assert parts(attempt(1, 0, 1, None, None, status="sent")) == {"outbox": 1.0, "queue": 99.0}
    assert parts(attempt(1, 0, None, None, None, status="ready")) == {"outbox": 100.0}


def test_people_have_a_part_of_their_own() -> None:
    assert parts(attempt(1, 0, None, None, 60, role="approval")) == {"people": 60.0}


def test_step_that_was_left_out_has_no_time() -> None:
    assert parts(attempt(1, 0, None, None, 0, status="skipped")) == {}


def test_segments_lie_within_the_picture_and_a_short_one_is_seen() -> None:
    found = timeline([attempt(1, 0, 0.001, 50, 100), attempt(2, 100, 100.001, 100.002, 100.003)], NOW)
    segments = [one for row in found.rows for one in row.segments]
    assert all(one.x >= 0 and one.x + one.width <= WIDTH for one in segments)
    assert all(one.width >= 2 for one in segments if one.seconds)
    assert dict(found.sums)["work"] == 50.001


def test_clock_that_went_back_gives_no_negative_time() -> None:
    assert parts(attempt(1, 5, 4, 3, 2)) == {"outbox": 0.0, "queue": 0.0, "work": 0.0}


def test_nothing_gives_nothing() -> None:
    assert timeline([], NOW).rows == ()


def test_part_that_goes_on_has_its_beginning_and_can_be_seen() -> None:
    def shown(*times: float | None, **fields: object) -> tuple[str, datetime, int]:
        (row,) = timeline([attempt(1, *times, **fields)], START + timedelta(seconds=2)).rows
        return row.open_part, row.open_at, row.segments[-1].width

    assert shown(0, status="ready")[:2] == ("outbox", START)
    assert shown(0, 2, status="sent") == ("queue", at(2), OPEN_WIDTH)
    assert shown(0, 1, 2, status="started") == ("work", at(2), OPEN_WIDTH)
    assert shown(0, 1, 1, 2)[0] == ""
