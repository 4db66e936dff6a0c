"""Reports on a pipe: whole ones arrive, halves wait, and a full pipe stops nobody."""

from __future__ import annotations

import os

from reworker.host.health import Report
from reworker.host.wire import ReportPipe, teller_to


def test_reports_arrive_when_told() -> None:
    pipe = ReportPipe()
    tell = teller_to(pipe.writing)
    tell(Report("a", "starting"))
    tell(Report("b", dead=("deaf",)))
    assert [(one.name, one.state, one.dead) for one in pipe.reports()] == [
        ("a", "starting", ()),
        ("b", "running", ("deaf",)),
    ]
    assert not pipe.is_at_end
    pipe.close_writing()
    assert list(pipe.reports()) == []
    assert pipe.is_at_end
    pipe.close()


def test_half_a_report_waits_for_its_rest_and_what_is_none_is_left_out() -> None:
    pipe = ReportPipe()
    os.write(pipe.writing, b'no report\n{"name"')
    assert list(pipe.reports()) == []
    os.write(pipe.writing, b':"a"}\n')
    assert [one.name for one in pipe.reports()] == ["a"]
    pipe.close()


def test_report_that_is_cut_by_a_full_pipe_is_ended_before_the_next() -> None:
    pipe = ReportPipe()
    tell = teller_to(pipe.writing)
    for number in range(5):
        tell(Report(str(number), unready=("x" * 30_000,)))
    names = [one.name for one in pipe.reports()]
    tell(Report("after"))
    tell(Report("last"))
    names += [one.name for one in pipe.reports()]
    assert names[:2] == ["0", "1"]
    assert names[-1] == "last"
    pipe.close()


def test_nothing_happens_when_nobody_reads_any_more() -> None:
    pipe = ReportPipe()
    tell = teller_to(pipe.writing)
    os.close(pipe.reading)
    tell(Report("a"))
    os.close(pipe.writing)
