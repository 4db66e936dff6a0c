"""The irc worker and a small IRC server."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from replugin.ircnotifyworker import IRCNotifyWorker
from reworker.messages import StepHeaders, headers_of_step
from reworker.testing import Harness, Transcript
from tests.support.certificates import make_certificate
from tests.support.irc_server import IrcServer
from tests.support.ports import free_port
from tests.support.waiting import wait_until

NOTE = {"slug": "Failed step", "message": "disk full", "phase": "failed", "target": ["#ops"]}


class Teller:
    """A worker that says NOTE."""

    def __init__(self, port: int, **config: Any) -> None:
        own = {"host": "localhost", "port": port, "tls": False, "retry_s": [1], "line_pause_s": 0.0}
        self.harness = Harness(IRCNotifyWorker, {**own, **config})

    def tell(self, target: list[str] | None = None, message: str = "disk full", **options: Any) -> Transcript:
        note = {**NOTE, "message": message, "target": ["#ops"] if target is None else target}
        return self.tell_body(json.dumps(note).encode(), routing_key="notify.irc", **options)

    def tell_body(self, body: bytes, **options: Any) -> Transcript:
        return self.harness.run(self.harness.delivery(body, reply_to="log", **options))

    def close(self) -> None:
        self.harness.worker.close()


@pytest.fixture
def server() -> Iterator[IrcServer]:
    with IrcServer() as made:
        yield made


@pytest.fixture
def teller(server: IrcServer) -> Iterator[Callable[..., Teller]]:
    made: list[Teller] = []

    def make(port: int = 0, **config: Any) -> Teller:
        made.append(Teller(port or server.port, **config))
        return made[-1]

    yield make
    for one in made:
        one.close()


Make = Callable[..., Teller]
RETRY = "worker.ircnotify.retry.1s"


def test_notification_is_said_in_its_channels_on_one_connection(server: IrcServer, teller: Make) -> None:
    one = teller(channels=["#ops key"], people=["ann"])
    server.keys["#ops"] = "key"
    transcripts = [one.tell(["#ops", "#dev", "ann", "#ops"]), one.tell()]
    assert [(said.target, said.text) for said in server.said] == [
        ("#ops", "Failed step: disk full"),
        ("#dev", "Failed step: disk full"),
        ("ann", "Failed step: disk full"),
        ("#ops", "Failed step: disk full"),
    ]
    assert len(server.clients) == 1
    assert server.lines.count("JOIN #ops key") == 1
    assert [(each.sent, each.settled) for each in transcripts] == [([], "ack")] * 2


def test_ping_is_answered_when_nothing_is_said(server: IrcServer, teller: Make) -> None:
    teller().tell()
    assert "PONG :before" in server.lines
    server.say_to_all("PING :are you there")
    wait_until(lambda: "PONG :are you there" in server.lines)


def test_lines_are_whole_and_nobody_elses_when_a_text_has_line_breaks(
    server: IrcServer, teller: Make
) -> None:
    evil = "x\r\nQUIT\nJOIN #evil\x00\x01VERSION\x01\r\r\n" + "\u00e4" * 600
    teller().tell(message=evil)
    texts = [said.text for said in server.said]
    assert texts[:3] == ["Failed step: x", "QUIT", "JOIN #evil  VERSION"]
    assert texts[3].startswith("\u00e4" * 100)
    assert texts[3].endswith("\u00e4...")
    assert max(len(said.line) for said in server.said) <= 512 - 90
    assert not [line for line in server.lines if line.startswith(("QUIT", "JOIN #evil"))]


def test_rest_is_counted_when_a_text_has_many_lines(server: IrcServer, teller: Make) -> None:
    teller().tell(message="\n".join(str(number) for number in range(50)))
    assert len(server.said) == 10
    assert server.said[-1].text == "... and 41 lines more"


def test_lines_come_slowly_when_there_are_many(server: IrcServer, teller: Make) -> None:
    teller(burst_lines=3, line_pause_s=0.5).tell(message="\n".join("abcdef"))
    times = [said.at_mono_s for said in server.said]
    assert times[1] - times[0] < 0.5, "the JOIN and two lines go at once"
    # three pauses by the clock of who speaks; the first of these lines may have been heard late
    assert times[5] - times[2] >= 1.25


def test_other_nick_is_taken_when_ours_is_not_free(server: IrcServer, teller: Make) -> None:
    server.taken_nicks = {"reworker", "reworker_"}
    teller().tell()
    assert [said.nick for said in server.said] == ["reworker__"]


def test_worker_comes_back_when_the_connection_is_lost(server: IrcServer, teller: Make) -> None:
    one = teller()
    one.tell()
    server.drop_all()
    connection = one.harness.worker._open_connection  # type: ignore[attr-defined]  # of IRCNotifyWorker
    wait_until(lambda: not connection.is_open)
    assert one.tell().settled == "ack"
    assert len(server.said) == 2
    server.say_to_all(":oper!u@h KICK #ops reworker :out")
    server.say_to_all("PING :done")
    wait_until(lambda: "PONG :done" in server.lines)
    one.tell()
    assert len(server.said) == 3
    assert server.lines.count("JOIN #ops") == 3


def test_worker_leaves_when_nobody_holds_it_any_more(server: IrcServer) -> None:
    Teller(server.port).tell()
    gc.collect()
    wait_until(lambda: "QUIT" in server.lines)


def test_others_hear_it_when_a_target_is_refused(
    server: IrcServer, teller: Make, caplog: pytest.LogCaptureFixture
) -> None:
    server.join_errors["#secret"] = "473 reworker #secret :Cannot join channel (+i)"
    server.say_errors["#quiet"] = "404 reworker #quiet :Cannot send to channel"
    targets = ["#secret", "#quiet", "NickServ", "#a,#b", "#a b", "#ops\r\nQUIT", "#ops"]
    transcript = teller().tell(targets)
    assert [said.target for said in server.said] == ["#ops"]
    assert (transcript.sent, transcript.settled) == ([], "ack")
    assert "nothing said to '#secret': the server says: Cannot join channel (+i)" in caplog.text
    assert "nothing said to '#quiet': the server says: Cannot send to channel" in caplog.text
    assert caplog.text.count("is neither a channel nor one of the people") == 4


def test_notification_is_dead_lettered_when_nobody_will_ever_hear_it(
    server: IrcServer, teller: Make, caplog: pytest.LogCaptureFixture
) -> None:
    assert teller().tell(["nobody"]).settled == "dead letter"
    assert teller().tell([]).settled == "dead letter"
    assert "dead-lettered: nothing was said: nobody is named" in caplog.text


def test_only_who_has_not_heard_it_is_told_again_when_the_server_goes(
    server: IrcServer, teller: Make
) -> None:
    one = teller(server_timeout_s=1.5)
    server.say_errors["#late"] = "999 reworker #late :the server goes mute"
    one.tell()
    server.is_mute = True
    first = one.tell(["#late"])
    assert [sent.routing_key for sent in first.sent] == [RETRY]
    server.is_mute = False
    server.say_errors.clear()
    again = first.sent[0]
    last = one.tell_body(again.body, routing_key="worker.ircnotify", headers=again.properties.headers)
    assert (last.sent, last.settled) == ([], "ack")
    assert [said.target for said in server.said] == ["#ops", "#late"]


def test_step_is_tried_again_for_who_has_not_heard_it(server: IrcServer, teller: Make) -> None:
    body = {"parameters": {"subcommand": "Say", "slug": "s", "message": "m", "target": ["#a", "nobody"]}}
    options = {"routing_key": "worker.ircnotify", "headers": headers_of_step(StepHeaders())}
    one, lost = teller().harness, teller(free_port()).harness
    done = one.run(one.delivery(body, **options))
    assert done.statuses == ["started", "completed"]
    assert (done.data["sent"], list(done.data["refused"])) == (["#a"], ["nobody"])
    waits = lost.run(lost.delivery(body, **options))
    assert waits.statuses == ["started", "running"]
    assert json.loads(waits.sent[-1].body)["parameters"]["target"] == ["#a"]


def test_notification_waits_when_the_server_is_away_or_does_not_want_us(
    server: IrcServer, teller: Make
) -> None:
    server.taken_nicks = {f"reworker{'_' * count}" for count in range(9)}
    away = teller(free_port()).tell()
    unwanted = teller().tell()
    for transcript in (away, unwanted):
        assert ([sent.routing_key for sent in transcript.sent], transcript.settled) == ([RETRY], "ack")


def test_worker_logs_in_over_tls_when_the_server_is_trusted(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with IrcServer(certificate.server_context(), password="open sesame") as server:
        own = {"tls": True, "ca": str(certificate.cert)}
        for config, heard_count in (
            ({**own, "password": "open sesame"}, 1),
            ({**own, "password": "wrong"}, 1),
            ({"tls": True, "password": "open sesame"}, 1),
        ):
            one = Teller(server.port, **config)
            one.tell()
            one.close()
            assert len(server.said) == heard_count
        wait_until(lambda: "QUIT" in server.lines)


def test_many_notifications_and_pings_pass_over_tls_at_once(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with IrcServer(certificate.server_context()) as server:
        server.pings_per_said = 5
        one = Teller(server.port, tls=True, ca=str(certificate.cert), burst_lines=1000)
        for number in range(20):
            message = "\n".join(str(number * 10 + digit) for digit in range(9))
            assert one.tell(message=message).sent == []
        wait_until(lambda: server.lines.count("PONG :are you there") == 20 * 9 * 5)
        one.close()
        assert len(server.said) == 20 * 9
