"""The email worker without a server: its settings, its mails and its step."""

from __future__ import annotations

from email import message_from_bytes, policy
from typing import Any

import pytest

from replugin.emailnotifyworker import EmailNotifyWorker, EmailSettings, Sent, mail_of, sort_refusals
from reworker.errors import ConfigError
from reworker.testing import Harness, deliver
from reworker.worker import Notification

OWN = {"host": "mail.x.org", "from": "Bot <bot@x.org>"}
EVIL = "hi\r\nBcc: evil@x.org\r\n\r\nbody\x00\u2028\x85"


def test_mail_has_no_header_of_others_when_texts_have_line_breaks() -> None:
    settings = EmailSettings(host="h", sender="B\u00e4r <bot@x.org>", subject_prefix="")
    note = Notification(EVIL, EVIL, EVIL, ["a@x.org"])
    raw = mail_of(note, settings, ["a@x.org"], EVIL, "seed").as_bytes()
    mail = message_from_bytes(raw, policy=policy.SMTP)
    own = {"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"}
    assert set(mail.keys()) - {"Content-Type", "Content-Transfer-Encoding", "MIME-Version"} == own
    assert mail["Subject"] == "hi Bcc: evil@x.org body"
    assert mail["From"] == "B\u00e4r <bot@x.org>"


def test_lone_surrogate_costs_no_mail_when_a_text_has_one() -> None:
    settings = EmailSettings(host="h", sender="bot@x.org")
    assert mail_of(Notification("a", "\ud800", "p", []), settings, ["a@x.org"], "", "").as_bytes()


def test_recipient_is_asked_again_only_when_the_answer_is_temporary() -> None:
    sent = Sent([], {}, {})
    answers = {"b": (450, b"later"), "c": (550, b"never\r\never"), "d": (-1, b"gone")}
    sort_refusals(answers, ["a", "b", "c", "d"], sent)
    assert sent == Sent(["a"], {"c": "550 never ever"}, {"b": "450 later", "d": "-1 gone"})


def test_step_fails_with_each_reason_when_no_target_is_an_address() -> None:
    parameters = {"slug": "s", "message": "m", "target": ["a b@x.org", "-", "a@x.org>"]}
    transcript = deliver(EmailNotifyWorker, "emailnotify:Send", parameters, config=OWN)
    assert transcript.statuses == ["started", "failed"]
    assert set(transcript.data) == set(parameters["target"])


def test_step_is_not_started_when_a_parameter_is_wrong() -> None:
    transcript = deliver(EmailNotifyWorker, "emailnotify:Send", {"slug": 1, "target": "a@x.org"}, config=OWN)
    assert transcript.statuses == ["failed"]
    for text in ("slug: Expected `str`", "message: missing", "target: Expected `array`"):
        assert text in transcript.message


def test_worker_listens_to_mail_notifications_when_built() -> None:
    settings = Harness(EmailNotifyWorker, OWN).worker._settings
    assert settings.queue == "worker.emailnotify"
    assert settings.routing_keys == ("notify.email", "worker.emailnotify")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"host": None}, "host: Expected `str`"),
        ({"from": "nobody"}, "from: 'nobody' has no mail address"),
        ({"from": "a@x.org\nBcc: b"}, "has no mail address"),
        ({"prot": 25}, "prot: unknown setting.*did you mean 'port'"),
        ({"port": 0}, "port: Expected `int` >= 1"),
        ({"port": "25"}, "port: Expected `int"),
        ({"encryption": "ssl"}, "encryption: Invalid enum value 'ssl'"),
        ({"encryption": False}, "encryption: Expected `str`"),
        ({"server_timeout_s": 0}, "server_timeout_s: Expected `float` > 0.0"),
        ({"retry_s": []}, "retry_s: Expected `array` of length >= 1"),
        ({"retry_s": [1, "x"]}, r"retry_s\[1\]: Expected `float`"),
        ({"user": "u"}, "belong together"),
        ({"password": "p"}, "belong together"),
        ({"user": "u", "password": "p", "encryption": "none"}, "encrypted only"),
        ({"user": "u", "password": "\u00fc"}, "ASCII"),
        ({"user": "u", "password": "p", "password_file": "/x"}, "not both"),
        ({"user": "u", "password_file": "/no/such/file"}, "cannot read the secret"),
        ({"ca": "/no/such/file"}, "cannot use the certificates in /no/such/file"),
    ],
)
def test_email_settings_are_refused_when_wrong(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        Harness(EmailNotifyWorker, {**OWN, **change})
    assert str(caught.value).split(":")[0].endswith("worker.json")
