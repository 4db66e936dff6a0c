"""``reworker dead`` over a server: the same words and exit codes as on its broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reworker.core.principal import Limits, Scope
from reworker.messages import StepHeaders, headers_of_step
from tests.integration.desk_support import Counter, bodies_in, channel_of, counter, put_letter
from tests.integration.shell_support import Said, Shell

pytestmark = pytest.mark.parametrize("any_broker_url", ["embedded"], indirect=True)


@pytest.fixture
def channel(any_broker_url: str) -> Iterator[Any]:
    with channel_of(any_broker_url) as made:
        made.queue_declare("worker.odd")
        yield made


@pytest.fixture
def desk(any_broker_url: str, tmp_path: Path) -> Iterator[Counter]:
    with counter(tmp_path, any_broker_url) as made:
        yield made


@pytest.fixture
def shell(desk: Counter, tmp_path: Path) -> Shell:
    _, token = desk.access.create_token("ann", [Scope.ADMIN])
    return Shell(tmp_path, desk.url, token)


def both(shell: Shell, mq: str, *arguments: str) -> tuple[Said, Said]:
    """Ask the server, and the broker."""
    return shell("dead", *arguments), shell("dead", *arguments, "--mq", mq)


@pytest.mark.parametrize("form", ["text", "json"])
def test_letters_look_the_same_over_a_server_as_on_its_broker(
    channel: Any, any_broker_url: str, shell: Shell, form: str
) -> None:
    put_letter(channel, b"first", queue="worker.odd", **{"x-raw": b"\x00\xff", "x-many": [1, {"a": 2}]})
    put_letter(channel, b"\xff" * 5_000, reason="too long")
    put_letter(channel, b"\x1b[31mred", reason="odd")
    for arguments in (
        ["ls"],
        ["ls", "--limit", "2"],
        ["ls", "--queue", "worker.odd"],
        ["ls", "--reason", "LONG", "--newer-than", "1h"],
        ["redrive", "--all", "--dry-run"],
    ):
        over_server, on_broker = both(shell, any_broker_url, *arguments, "-o", form)
        assert over_server == on_broker
        assert (over_server.returncode, over_server.stderr) == (0, "")
    listed = json.loads(shell("dead", "ls", "-o", "json").stdout)
    assert (listed["ready"], len(listed["letters"])) == (3, 3)
    for one in listed["letters"]:
        over_server, on_broker = both(shell, any_broker_url, "show", one["id"][:9], "-o", form)
        assert over_server == on_broker
        assert over_server.returncode == 0


def test_letters_are_sent_back_in_their_order_and_what_stays_is_said(
    channel: Any, any_broker_url: str, shell: Shell, desk: Counter
) -> None:
    for body in (b"a", b"b", b"a", b"a"):
        put_letter(channel, body, queue="worker.odd")
    put_letter(channel, b"nowhere")
    put_letter(channel, b"step", queue="worker.odd", **headers_of_step(StepHeaders()))
    unsure = shell("dead", "redrive", "--all")
    assert (unsure.returncode, "6 dead letters would be sent back: say --yes" in unsure.stderr) == (2, True)
    sent = shell("dead", "redrive", "--all", "--yes", "--why", "mended")
    assert sent.returncode == 1
    assert sent.stdout.splitlines()[-1] == "4 dead letters sent back"
    left = [line.partition(" is left: ")[2] for line in sent.stderr.splitlines()]
    assert left == [
        "it does not say where it came from: give --to QUEUE",
        "a step whose core has its answer: resume the deployment, or give --force",
    ]
    assert bodies_in(channel, "worker.odd") == [b"a", b"b", b"a", b"a"]
    rows = [one for one in desk.access.audit() if one.action == "dead_letter.redrive"]
    assert [(one.actor, one.outcome) for one in rows] == [("ann", "failed")] * 2 + [("ann", "done")] * 4
    assert {one.detail for one in rows[2:]} == {"mended"}
    forced = shell("dead", "redrive", "--all", "--yes", "--force", "--to", "worker.odd")
    assert (forced.returncode, forced.stdout.splitlines()[-1]) == (0, "2 dead letters sent back")
    assert bodies_in(channel, "worker.odd") == [b"nowhere", b"step"]


def test_letters_are_thrown_away_by_filter_and_by_id(channel: Any, shell: Shell, any_broker_url: str) -> None:
    for number in range(3):
        put_letter(channel, b"%d" % number, reason="good" if number else "bad")
    dropped = shell("dead", "drop", "--all", "--reason", "bad", "-o", "json")
    assert len(json.loads(dropped.stdout)["ids"]) == 1
    first = json.loads(shell("dead", "ls", "-o", "json").stdout)["letters"][0]["id"]
    assert shell("dead", "drop", first[:8]).stdout.splitlines()[-1] == "1 dead letter thrown away"
    assert bodies_in(channel, "re.dead") == [b"2"]
    over_server, on_broker = both(shell, any_broker_url, "drop", first)
    assert over_server == on_broker
    assert (over_server.returncode, "no dead letter" in over_server.stderr) == (2 - 1, True)


def test_who_may_not_is_told_and_changes_nothing(channel: Any, shell: Shell, desk: Counter) -> None:
    put_letter(channel, b"kept", queue="worker.odd")
    _, reader = desk.access.create_token("bob", [Scope.READ])
    refused = shell("dead", "drop", "--all", REWORKER_TOKEN=reader)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "admin" in refused.stderr
    _, limited = desk.access.create_token("eve", [Scope.ADMIN], Limits(groups=("web",)))
    assert shell("dead", "ls", REWORKER_TOKEN=limited).returncode == 1
    assert bodies_in(channel, "re.dead") == [b"kept"]


def test_wrong_places_are_usage_errors(shell: Shell, any_broker_url: str) -> None:
    said = shell("dead", "ls", "--dead-queue", "other")
    assert (said.returncode, "a server sees re.dead alone" in said.stderr) == (2, True)
    said = shell("dead", "ls", "--mq", any_broker_url, "--server", "http://127.0.0.1:9")
    assert (said.returncode, "give --mq or --server" in said.stderr) == (2, True)
    said = shell("dead", "ls", REWORKER_SERVER="")
    assert (said.returncode, "say where: --mq FILE_OR_URL" in said.stderr) == (2, True)


def test_server_that_is_away_or_knows_no_broker_is_unreachable(
    tmp_path: Path, any_broker_url: str, shell: Shell
) -> None:
    assert shell("dead", "ls", "--server", "http://127.0.0.1:9", REWORKER_TOKEN="rw_x").returncode == 5
    folder = tmp_path / "lone"
    folder.mkdir()
    with counter(folder, None) as lone:
        _, token = lone.access.create_token("ann", [Scope.ADMIN])
        said = shell("dead", "ls", "--server", lone.url, REWORKER_TOKEN=token)
    assert (said.returncode, "--mq" in said.stderr) == (5, True)


def test_many_equal_letters_are_told_apart_over_several_requests(channel: Any, shell: Shell) -> None:
    for number in range(240):
        put_letter(channel, b"%d" % (number // 3), queue="worker.odd")
    first = json.loads(shell("dead", "ls", "-o", "json").stdout)["letters"][0]["id"]
    assert shell("dead", "drop", f"{first}.2", "--why", "twice").returncode == 0
    sent = shell("dead", "redrive", "--all", "--yes")
    assert (sent.returncode, sent.stdout.splitlines()[-1]) == (0, "239 dead letters sent back")
    expected = [b"%d" % (number // 3) for number in range(240)]
    expected.remove(b"0")
    assert bodies_in(channel, "worker.odd") == expected


def test_request_about_many_says_what_became_of_each(channel: Any, desk: Counter) -> None:
    put_letter(channel, b"here")
    (there,) = desk.letters()
    body = {"ids": ["none", there["id"]], "reason": "old"}
    answer = desk.admin.post("/api/v1/dead-letters/drop", json=body).json()
    assert [(one["id"], one["done"], one["detail"]) for one in answer["items"]] == [
        ("none", False, "it is not there any more"),
        (there["id"], True, ""),
    ]
    assert answer["done"] == 1
    outcomes = [(target, outcome) for _, _, target, outcome in desk.audit()]
    assert outcomes == [(there["id"], "done"), ("none", "failed")]
    many = {"ids": ["x"] * 201, "reason": "old"}
    assert desk.admin.post("/api/v1/dead-letters/redrive", json=many).status_code == 422
    assert desk.client(Scope.RUN).post("/api/v1/dead-letters/redrive", json=body).status_code == 403
