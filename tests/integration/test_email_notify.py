"""The email worker and a real SMTP server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replugin.emailnotifyworker import EmailNotifyWorker
from reworker.testing import Harness, Transcript, deliver
from tests.support.certificates import Certificate, make_certificate
from tests.support.ports import free_port
from tests.support.smtp_server import SmtpServer

NOTE = {"slug": "Failed step", "message": "disk full\non web1", "phase": "failed", "target": ["a@x.org"]}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with SmtpServer() as made:
        yield made


def told(port: int, target: list[str] | None = None, **config: Any) -> tuple[Harness, Transcript]:
    """Have a worker tell of NOTE."""
    own = {"host": "localhost", "from": "Bot <bot@x.org>", "encryption": "none", "retry_s": [1], **config}
    harness = Harness(EmailNotifyWorker, {**own, "port": port})
    note = {**NOTE, **({"target": target} if target is not None else {})}
    delivery = harness.delivery(note, routing_key="notify.email", message_id="m1", reply_to="log")
    return harness, harness.run(delivery)


def test_mail_arrives_when_the_server_takes_it(server: SmtpServer) -> None:
    _, transcript = told(server.port, ["a@x.org", "b@x.org", "a@x.org"])
    (mail,) = server.mails
    assert (mail.sender, mail.recipients) == ("bot@x.org", ["a@x.org", "b@x.org"])
    assert (mail.message["Subject"], mail.message["To"]) == ("[reworker] Failed step", "a@x.org, b@x.org")
    assert mail.text.startswith("disk full\non web1\n")
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert (transcript.sent, transcript.settled) == ([], "ack")


def test_mail_has_the_same_id_when_the_notification_comes_again(server: SmtpServer) -> None:
    told(server.port)
    told(server.port)
    first, second = (mail.message["Message-ID"] for mail in server.mails)
    assert first == second


def test_others_get_theirs_when_recipients_are_refused(
    server: SmtpServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.refusals = {"gone@x.org": "550 no such user", "busy@x.org": "451 try later"}
    harness, transcript = told(server.port, ["gone@x.org", "busy@x.org", "no address", "a@x.org"])
    assert [mail.recipients for mail in server.mails] == [["a@x.org"]]
    assert "no mail to 'gone@x.org': 550 no such user" in caplog.text
    assert "no mail to 'no address': is no mail address" in caplog.text
    (again,) = transcript.sent
    assert (again.routing_key, transcript.settled) == ("worker.emailnotify.retry.1s", "ack")
    assert json.loads(again.body)["target"] == ["busy@x.org"]

    server.refusals = {}
    options: dict[str, Any] = {"headers": again.properties.headers, "message_id": "m1"}
    last = harness.run(harness.delivery(again.body, routing_key="worker.emailnotify", **options))
    assert (server.mails[1].recipients, last.settled, last.sent) == (["busy@x.org"], "ack", [])
    assert server.mails[0].message["Message-ID"] == server.mails[1].message["Message-ID"]


@pytest.mark.parametrize("verdict", ["451 greylisted", "421 shutting down"])
def test_notification_waits_when_the_server_says_later(server: SmtpServer, verdict: str) -> None:
    server.verdict = verdict
    _, transcript = told(server.port)
    assert [one.routing_key for one in transcript.sent] == ["worker.emailnotify.retry.1s"]
    assert transcript.settled == "ack"


def test_notification_waits_when_nobody_listens() -> None:
    _, transcript = told(free_port())
    assert [one.routing_key for one in transcript.sent] == ["worker.emailnotify.retry.1s"]


@pytest.mark.parametrize(
    ("target", "refusals", "verdict", "reason"),
    [
        (["a@x.org"], {}, "554 looks like spam", "localhost answered 554 looks like spam"),
        (["a@x.org"], {"a@x.org": "550 no such user"}, "", "'a@x.org': 550 no such user"),
        (["a@x.org\r\nRCPT TO:<b@x.org>"], {}, "", "is no mail address"),
        ([], {}, "", "nobody is named"),
    ],
)
def test_notification_is_dead_lettered_when_nobody_will_ever_get_it(
    server: SmtpServer,
    caplog: pytest.LogCaptureFixture,
    target: list[str],
    refusals: dict[str, str],
    verdict: str,
    reason: str,
) -> None:
    server.refusals, server.verdict = refusals, verdict
    _, transcript = told(server.port, target)
    assert (server.mails, transcript.sent, transcript.settled) == ([], [], "dead letter")
    assert reason in caplog.text.partition("dead-lettered")[2]


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
def test_mail_goes_encrypted_after_a_login_when_asked_to(
    certificate: Certificate, tmp_path: Path, encryption: str
) -> None:
    file = tmp_path / "password"
    file.write_text("open sesame\n", encoding="utf-8")
    own = {"encryption": encryption, "ca": str(certificate.cert)}
    tls = certificate.server_context()
    with SmtpServer(tls, is_tls=encryption == "tls", password="open sesame") as server:
        _, transcript = told(server.port, **own, user="reworker", password_file=str(file))
        assert transcript.settled == "ack"
        (mail,) = server.mails
        assert (mail.is_starttls, mail.login) == (encryption == "starttls", b"reworker")
        _, refused = told(server.port, **own, user="reworker", password="wrong")
        assert (len(server.mails), refused.settled) == (1, "dead letter")


def test_nothing_is_sent_when_the_certificate_is_not_trusted(certificate: Certificate) -> None:
    with SmtpServer(certificate.server_context()) as server:
        _, transcript = told(server.port, encryption="starttls")
        assert (server.mails, len(transcript.sent)) == ([], 1)


def test_nothing_is_sent_in_the_clear_when_the_server_has_no_starttls(
    server: SmtpServer, caplog: pytest.LogCaptureFixture
) -> None:
    _, transcript = told(server.port, encryption="starttls")
    assert (server.mails, transcript.settled) == ([], "dead letter")
    assert "localhost cannot do what the settings ask for" in caplog.text


def stepped(port: int) -> Transcript:
    own = {"host": "localhost", "port": port, "from": "bot@x.org", "encryption": "none", "retry_s": [1]}
    parameters = {"slug": "s", "message": "m", "target": ["a@x.org", "b@x.org", "c@x.org"]}
    return deliver(EmailNotifyWorker, "emailnotify:Send", parameters, config=own)


def test_step_says_who_got_its_mail(server: SmtpServer) -> None:
    server.refusals = {"b@x.org": "550 no such user"}
    transcript = stepped(server.port)
    assert transcript.statuses == ["started", "completed"]
    assert transcript.data == {"sent": ["a@x.org", "c@x.org"], "refused": {"b@x.org": "550 no such user"}}


def test_step_is_tried_again_for_who_may_get_its_mail_later(server: SmtpServer) -> None:
    server.refusals = {"b@x.org": "450 later"}
    transcript = stepped(server.port)
    assert transcript.statuses == ["started", "running"]
    assert "'b@x.org': 450 later" in transcript.replies[-1]["message"]
    again = json.loads(transcript.sent[-1].body)
    assert again["parameters"]["target"] == ["b@x.org"]
    assert again["parameters"]["slug"] == "s"
