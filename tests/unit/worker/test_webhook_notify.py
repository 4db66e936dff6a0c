"""The webhook worker without a server: its settings, targets, bodies and signatures."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from replugin.webhooknotifyworker import WebhookNotifyWorker, body_of, retry_after_s, signature
from reworker.errors import ConfigError
from reworker.testing import Harness, deliver
from reworker.worker import Notification

OWN = {"targets": {"chat": {"url": "https://chat.x.org/hook/token"}}}
NOTE = Notification("Failed step", "Failed step: disk <full> & <!channel>", "failed", ["chat"])


def test_slack_gets_one_text_without_links_when_asked_for() -> None:
    assert json.loads(body_of(NOTE, "slack", "c.1", "id")) == {
        "text": "Failed step: disk &lt;full&gt; &amp; &lt;!channel&gt;"
    }
    other = Notification("Slug", "message", "failed", [])
    assert json.loads(body_of(other, "slack", "c.1", "id")) == {"text": "Slug: message"}


def test_body_names_the_job_when_it_is_our_own() -> None:
    assert json.loads(body_of(NOTE, "reworker", "c.1", "d1")) == {
        "id": "d1",
        "job": "c.1",
        "slug": NOTE.slug,
        "message": NOTE.message,
        "phase": "failed",
        "target": ["chat"],
    }


def test_signature_can_be_checked_by_who_knows_the_secret() -> None:
    digest = hmac.new(b"s", b'1700000000.{"a":1}', hashlib.sha256).hexdigest()
    assert signature("s", 1_700_000_000, b'{"a":1}') == f"t=1700000000,v1={digest}"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("7", 7),
        ("-7", 0),
        ("soon", 0),
        ("9" * 400, 9_999_999_999),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10),
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0),
        ("Tue, 99 Nov 2023 22:13:10 GMT", 0),
    ],
)
def test_wait_is_read_when_a_receiver_asks_for_one(text: str, seconds: float) -> None:
    assert retry_after_s(text, 1_700_000_000) == seconds


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("cat", "'cat': no such target; configured: chat"),
        ("https://chat.x.org/hook/token", "https://...: the settings do not allow this URL"),
        ("http://169.254.169.254/latest/meta-data", "http://...: the settings do not allow this URL"),
        ("https://ok.x.org.evil.org/", "do not allow"),
        ("https://ok.x.org/hooks/../admin", "no such target"),
        ("https://ok.x.org@evil.org/hooks/", "no such target"),
        ("file:///etc/passwd", "no such target"),
    ],
)
def test_nothing_is_posted_when_the_target_is_not_allowed(target: str, reason: str) -> None:
    parameters = {"slug": "s", "message": "m", "target": [target]}
    config = {**OWN, "allow": ["https://ok.x.org/hooks/"]}
    transcript = deliver(WebhookNotifyWorker, "webhooknotify:Send", parameters, config=config)
    assert transcript.statuses == ["started", "failed"]
    assert reason in transcript.message
    assert "token" not in transcript.message


def test_worker_listens_to_webhook_notifications_when_built() -> None:
    settings = Harness(WebhookNotifyWorker, OWN).worker._settings
    assert settings.queue == "worker.webhooknotify"
    assert settings.routing_keys == ("notify.webhook", "worker.webhooknotify")


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({}, "targets: name at least one receiver"),
        ({"targets": {"a": {}}}, "targets.a.url: is missing"),
        ({"targets": {"a": {"url": "ftp://x"}}}, "targets.a: 'ftp://x' is no http or https URL"),
        ({"targets": {"a": {"url": "https://u:p@x/"}}}, "targets.a: an URL of x has a user"),
        ({"targets": {"a": {"url": "https://x", "form": "teams"}}}, "targets.a.form: Invalid enum value"),
        ({"targets": {"a": {"url": "https://x", "secret_file": "/no/such"}}}, "targets.a: cannot read"),
        ({"targets": {"a": {"url": "https://x", "hidden": 1}}}, "targets.a.hidden: unknown setting"),
        ({**OWN, "allow": "https://x"}, "allow: Expected `array`"),
        ({**OWN, "allow": ["x"]}, "'x' is no http or https URL"),
        ({**OWN, "allow": ["https://x/?a"]}, "has a query"),
        ({**OWN, "secret": "a", "secret_file": "b"}, "not both"),
        ({**OWN, "request_timeout_s": -1}, "request_timeout_s: Expected `float` > 0"),
        ({**OWN, "retry_after_limit_s": True}, "retry_after_limit_s: Expected `float`"),
        ({**OWN, "ca": "/no/such"}, "cannot use the certificates"),
        ({**OWN, "tagets": {}}, "did you mean 'targets'"),
    ],
)
def test_webhook_settings_are_refused_when_wrong(config: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Harness(WebhookNotifyWorker, config)
