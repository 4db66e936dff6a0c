"""What a deployment looks like while it runs."""

import datetime
import io
import json

import pytest
from rich.console import Console

from reworker.cli.events import event_line, event_object, with_skips
from reworker.cli.progress import JsonView, LineView, PictureView, picture, view_for
from reworker.core.service import AttemptView, EventView
from reworker.fsm.deployment import Attempt, Deployment, SequenceState, Track
from reworker.fsm.parsing import parse
from reworker.fsm.plan import Role, compile_plan
from reworker.fsm.states import AttemptStatus, DeploymentStatus
from reworker.storage.contract import AttemptRow

AT = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.UTC)


def attempt(host="web1", step="noop:Run", role="step", status="started", message=""):
    row = AttemptRow(
        *("d.1", "d", 1, 0, step, host, status, 1, "", message, None, b"null"),
        *(AT, None, None, None, role),
    )
    return AttemptView(row, None)


def event(kind, ignored=None, actor="", **data):
    return EventView(1, kind, AT, actor, data, ignored)


def plan_of(host_count, step_count=2):
    hosts = ", ".join(f"h{n}" for n in range(host_count))
    steps = ", ".join(["noop:Run"] * step_count)
    text = f"group: g\nname: n\nexecution: [{{description: one, hosts: [{hosts}], steps: [{steps}]}}]"
    return compile_plan(parse(text), {})


def drawn(plan, deployment, last=""):
    out = io.StringIO()
    Console(file=out, width=100).print(picture(plan, deployment, last))
    return out.getvalue()


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (event("ReplyStarted", attempt=1), "03:04:05.678  web1  noop:Run  started"),
        (event("ReplyFailed", attempt=1, message="no disk"), "03:04:05.678  web1  noop:Run  failed: no disk"),
        (event("ReplyRunning", attempt=1, percent=12.5), "03:04:05.678  web1  noop:Run  running 12 %"),
        (event("Decided", attempt=1, decision="retry"), "03:04:05.678  web1  noop:Run  decided: retry"),
        (event("Submitted"), "03:04:05.678  submitted"),
        (event("CancelRequested", reason="stop"), "03:04:05.678  cancel requested: stop"),
        (event("ReplyFailed", "late", attempt=1), "03:04:05.678  web1  noop:Run  failed  (ignored: late)"),
        (
            event("ReplyStarted", "late", "w2", attempt=1),
            "03:04:05.678  web1  noop:Run  started, late or once more, by w2  (ignored: late)",
        ),
        (event("Approved", None, "ann", attempt=1), "03:04:05.678  web1  noop:Run  approved by ann"),
        (
            event("LocksAwaited", lock="host:a:b", holder="3fc"),
            "03:04:05.678  waits for host a:b, held by 3fc",
        ),
        (event("LocksGranted", fence=1), "03:04:05.678  has its locks"),
        (
            event("Submitted", resumes="3fc", reason="disk is new"),
            "03:04:05.678  submitted, goes on with 3fc: disk is new",
        ),
        (event("SomethingNew"), "03:04:05.678  SomethingNew"),
    ],
)
def test_event_line_says_what_happened_where(one, text):
    assert event_line(one, {1: attempt()}) == text


def test_event_line_escapes_what_a_worker_sent():
    line = event_line(event("ReplyFailed", attempt=1, message="a\x1b]0;x\x07\nb\u202e"), {1: attempt()})
    assert line.isprintable()


def test_event_object_is_json_with_host_and_step():
    found = event_object(event("ReplyFailed", "late", attempt=1, message="m"), {1: attempt()})
    assert json.loads(json.dumps(found)) == {
        "seq": 1,
        "at": "2026-01-02T03:04:05.678Z",
        "event": "ReplyFailed",
        "host": "web1",
        "step": "noop:Run",
        "attempt": 1,
        "message": "m",
        "ignored": "late",
    }


@pytest.mark.parametrize(("role", "name"), [("rollback", "rollback noop:Run"), ("approval", "noop:Run")])
def test_event_line_says_what_an_attempt_is_for(role, name):
    assert (
        event_line(event("ReplyStarted", attempt=1), {1: attempt(role=role)})
        == f"03:04:05.678  web1  {name}  started"
    )


def test_steps_that_were_left_out_stand_among_the_events():
    skipped = attempt(status="skipped", message="left out: x did not complete")
    lines = [event_line(one, {1: skipped}) for one in with_skips([event("Submitted")], [skipped])]
    assert lines[1] == "03:04:05.678  web1  noop:Run  skipped: left out: x did not complete"


def at_work(completed, *tracks, status=DeploymentStatus.RUNNING, **more):
    return Deployment(
        id="d",
        status=status,
        completed=((0, completed),),
        completed_count=completed,
        tracks=tuple(Track(index=index) for index in tracks),
        sequences=(SequenceState(index=0, failed_host_count=1),),
        **more,
    )


def test_picture_shows_status_and_counts_as_text():
    busy = Attempt(number=4, step_index=3, role=Role.STEP, status=AttemptStatus.STARTED)
    text = drawn(plan_of(2), at_work(3, 3, attempts=(busy,), reason="approval: go?"), "last line")
    assert "g / n  d  running  3/4" in text
    assert "approval: go?" in text
    assert "one" in text
    assert "1 of 2 hosts failed" in text
    assert "h1" in text
    assert "1/2" in text
    assert "noop:Run  started" in text
    assert "last line" in text


def test_picture_keeps_its_height_with_a_thousand_hosts():
    plan = plan_of(1000)
    heights = {
        drawn(plan, at_work(done, *tracks)).count("\n")
        for done, tracks in ((0, ()), (7, (7,)), (1000, range(1000, 1200, 2)), (1999, (1999,)))
    }
    assert len(heights) == 1
    assert heights.pop() < 15


def test_picture_has_a_limited_height_with_a_thousand_sequences():
    one = "{description: s%d, hosts: [h%d], steps: [noop:Run]}"
    text = f"group: g\nname: n\nexecution: [{', '.join(one % (n, n) for n in range(1000))}]"
    now = Deployment(
        id="d",
        status=DeploymentStatus.RUNNING,
        sequences=(SequenceState(index=500),),
        tracks=(Track(index=500),),
    )
    out = drawn(compile_plan(parse(text), {}), now)
    assert out.count("\n") < 25
    assert "s500" in out
    assert "h500" in out


def test_picture_of_an_ended_deployment_has_no_hosts():
    assert "h0" not in drawn(plan_of(2), at_work(4, status=DeploymentStatus.COMPLETED))


def test_line_view_prints_one_line_per_event(capsys):
    with view_for("text", plan_of(1)) as view:
        assert isinstance(view, LineView)
        view.update(
            Deployment(id="d"), [event("Submitted"), event("ReplyStarted", attempt=1)], {1: attempt()}
        )
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_json_view_prints_one_object_per_event(capsys):
    with view_for("json", plan_of(1)) as view:
        assert isinstance(view, JsonView)
        view.update(Deployment(id="d"), [event("Submitted")], {})
    assert json.loads(capsys.readouterr().out)["event"] == "Submitted"


def test_json_view_is_safe_to_look_at_when_a_worker_sent_anything(capsys):
    with view_for("json", plan_of(1)) as view:
        view.update(Deployment(id="d"), [event("ReplyFailed", message="\x1b[2J\x9b2J\u202e\ud800")], {})
    out = capsys.readouterr().out
    assert out.rstrip("\n").isprintable()
    assert json.loads(out)["message"] == "\x1b[2J\x9b2J\u202e\ud800"


def test_a_note_stays_apart_from_the_stream(capsys):
    with view_for("json", plan_of(1)) as view:
        view.note("no core")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "no core\n")


def test_a_note_stands_above_the_picture(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    with view_for("text", plan_of(1)) as view:
        view.update(Deployment(id="d", status=DeploymentStatus.RUNNING), [event("Submitted")], {})
        view.note("no core")
    printed = capsys.readouterr().out
    assert printed.index("no core") < printed.rindex("g / n")


def test_a_terminal_gets_the_picture(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    with view_for("text", plan_of(1)) as view:
        assert isinstance(view, PictureView)
        view.update(Deployment(id="d", status=DeploymentStatus.RUNNING), [event("Submitted")], {})
    assert "running" in capsys.readouterr().out


def test_note_is_shown_as_it_is_when_it_looks_like_markup(capsys):
    with PictureView(plan_of(1)) as view:
        view.note("is `reworker core` running on /srv/[/b]/[red]x.db?")
    assert "/srv/[/b]/[red]x.db?" in capsys.readouterr().out
