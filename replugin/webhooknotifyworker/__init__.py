"""webhook: posts notifications, the messages with the key ``notify.webhook``, as JSON; also the step `Send`.

The result of a task comes as a notification, too, and is posted as it is.

Its settings: ``targets`` (name to ``url``, ``form``, ``secret`` or ``secret_file``), ``allow``, ``secret`` or
``secret_file``, ``ca``, ``request_timeout_s``, ``retry_s``, ``retry_after_limit_s``.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from reworker.errors import JobFailed, JobRetry, JobUnknown
from reworker.worker import (
    HttpAnswer,
    Job,
    Notification,
    Worker,
    checked_url,
    http_call,
    is_url_below,
    notification_of,
    runner,
    secret_of,
    step,
    tls_context,
)

#: answers beside 5xx after which another try may help: the receiver was slow, or busy.
LATER = frozenset({408, 425, 429})
#: bytes of an answer that are read, and characters of it that are logged.
ANSWER_BYTES, ANSWER_CHARACTERS = 4096, 200
#: characters of a text for Slack. Source: its own advice for messages.
SLACK_CHARACTERS = 4000
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Target(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One receiver."""

    url: str
    form: Literal["reworker", "slack"] = "reworker"
    secret: str | None = None
    secret_file: str | None = None

    def __post_init__(self) -> None:
        """Check what no type can say.

        Raises:
            ValueError: it is wrong.
        """
        checked_url(self.url)
        self.secret, self.secret_file = secret_of(self.secret, self.secret_file), None


class WebhookSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The worker's own settings."""

    targets: dict[str, Target] = {}
    allow: tuple[str, ...] = ()
    secret: str | None = None
    secret_file: str | None = None
    ca: str | None = None
    request_timeout_s: Seconds = 10.0
    retry_s: Annotated[tuple[Seconds, ...], msgspec.Meta(min_length=1)] = (10.0, 30.0, 60.0, 300.0, 900.0)
    retry_after_limit_s: Seconds = 900.0

    def __post_init__(self) -> None:
        """Check what no type can say.

        Raises:
            ValueError: it is wrong.
        """
        for base in self.allow:
            if urlsplit(checked_url(base)).query:
                raise ValueError(f"allow: {base!r} has a query; an allowed URL ends with its path")
        if not self.targets and not self.allow:
            raise ValueError("targets: name at least one receiver")
        self.secret, self.secret_file = secret_of(self.secret, self.secret_file), None
        if self.ca is not None:
            tls_context(self.ca)


class Telling(msgspec.Struct, frozen=True):
    """What is told: a notification, and the result of a task that it is about, if there is one.

    `job` is the correlation id; `seed` is the same each time the message comes.
    """

    note: Notification
    job: str
    seed: str
    result: dict[str, Any] | None = None


class Posted(msgspec.Struct):
    """What became of each target; `wait_s` is the longest wait that a receiver has asked for."""

    accepted: list[str]
    refused: dict[str, str]
    later: dict[str, str]
    wait_s: float = 0.0


class WebhookNotifyWorker(Worker):
    """Posts each notification to its targets; one that does not take it does not cost the others theirs."""

    routing_keys = ("notify.webhook", "worker.webhooknotify")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("queue", "webhooknotify")
        super().__init__(*args, **kwargs)
        self._web = self.own_settings(WebhookSettings)
        self._tls = tls_context(self._web.ca)

    def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
        """Post a notification; a step goes its own way."""
        if "parameters" in body:
            super().process(channel, basic_deliver, properties, body, output)
            return
        job, result = properties.correlation_id or "", body.get("result")
        result = result if isinstance(result, dict) else None
        posted = self._post_all(Telling(notification_of(body), job, properties.message_id or job, result))
        if posted.later:
            raise self._retry(posted, {"target": list(posted.later)})

    @step("Send")
    def send_webhook(
        self, job: Job, *, slug: str, message: str, target: list[str], phase: str = "completed"
    ) -> dict[str, Any]:
        """Post to the receivers in `target`."""
        posted = self._post_all(Telling(Notification(slug, message, phase, target), job.id, job.id))
        if posted.later:
            raise self._retry(posted, {"parameters": {**job.parameters, "target": list(posted.later)}})
        return {"sent": posted.accepted, "refused": posted.refused}

    def _post_all(self, telling: Telling) -> Posted:
        """Post to all targets.

        Raises:
            JobFailed: no target will ever take it.
        """
        posted = Posted([], {}, {})
        for name in dict.fromkeys(telling.note.target):
            try:
                self._post(telling, name, posted)
            except JobFailed as error:
                posted.refused[name] = error.message
        for name, reason in posted.refused.items():
            self.app_logger.error("%s: no webhook to %s: %s", telling.job, _shown(name), reason)
        if not posted.accepted and not posted.later:
            raise JobFailed(f"nothing was posted: {_reasons(posted.refused) or 'nobody is named'}")
        return posted

    def _post(self, telling: Telling, name: str, posted: Posted) -> None:
        target, note = self._target(name), telling.note
        identity = (telling.seed, name, note.slug, note.message, note.phase)
        delivery_id = hashlib.sha256("\0".join(identity).encode(errors="replace")).hexdigest()[:32]
        body = body_of(note, target.form, telling.job, delivery_id)
        if telling.result is not None and target.form == "reworker":
            body = msgspec.json.encode(telling.result)
        headers = {"Content-Type": "application/json", "X-Reworker-Delivery": delivery_id}
        if secret := target.secret or self._web.secret:
            headers["X-Reworker-Signature"] = signature(secret, int(time.time()), body)
        try:
            answer = http_call(
                "POST",
                target.url,
                headers={"User-Agent": "reworker", **headers},
                body=body,
                timeout_s=self._web.request_timeout_s,
                limit_bytes=ANSWER_BYTES,
                tls=self._tls,
            )
        except (JobFailed, JobUnknown) as error:
            posted.later[name] = error.message
        else:
            self._sort(answer, name, posted)

    def _target(self, name: str) -> Target:
        """Return the receiver of this name, or of an URL that the settings allow.

        Raises:
            JobFailed: there is none.
        """
        if name in self._web.targets:
            return self._web.targets[name]
        try:
            url = checked_url(name)
        except ValueError:
            known = ", ".join(sorted(self._web.targets)) or "none"
            raise JobFailed(f"no such target; configured: {known}") from None
        if not any(is_url_below(url, base) for base in self._web.allow):
            raise JobFailed("the settings do not allow this URL") from None
        return Target(url=url)

    def _sort(self, answer: HttpAnswer, name: str, posted: Posted) -> None:
        """Note what the answer says; a redirect is a refusal, it could lead anywhere."""
        text = " ".join(answer.body.decode(errors="replace").split())[:ANSWER_CHARACTERS]
        reason = f"answered {answer.status} {answer.reason}: {text}"
        if 200 <= answer.status <= 299:
            posted.accepted.append(name)
        elif answer.status in LATER or answer.status >= 500:
            posted.later[name] = reason
            asked_s = retry_after_s(answer.headers.get("retry-after", ""), time.time())
            posted.wait_s = max(posted.wait_s, min(asked_s, self._web.retry_after_limit_s))
        else:
            posted.refused[name] = reason

    def _retry(self, posted: Posted, changes: dict[str, Any]) -> JobRetry:
        delays_s = [max(one, posted.wait_s) for one in self._web.retry_s]
        return JobRetry(delays_s, _reasons(posted.later), changes=changes)


def body_of(note: Notification, form: str, corr_id: str, delivery_id: str) -> bytes:
    """Return the JSON of a notification."""
    if form == "slack":
        text = note.message if note.message.startswith(note.slug) else f"{note.slug}: {note.message}"
        # escaped, so that no text of a step is a link or calls a whole channel
        return msgspec.json.encode({"text": html.escape(text[:SLACK_CHARACTERS], quote=False)})
    return msgspec.json.encode({"id": delivery_id, "job": corr_id, **msgspec.structs.asdict(note)})


def signature(secret: str, at: int, body: bytes) -> str:
    """Return the signature of a body: who knows the secret can tell that it is ours, and how old."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def retry_after_s(text: str, now_s: float) -> float:
    """Return the seconds that a header ``Retry-After`` asks for, as a number or a date; else 0."""
    if text.isdecimal():
        return float(text[:10])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, OverflowError):
        return 0.0


def _shown(name: str) -> str:
    """Return a target for logs: the path of an URL may be its secret."""
    return f"{name.partition('://')[0]}://..." if "://" in name else repr(name)


def _reasons(refused: dict[str, str]) -> str:
    parts: Iterable[str] = (f"{_shown(name)}: {reason}" for name, reason in refused.items())
    return "; ".join(parts)


def main() -> None:
    """Run this worker: ``python replugin/webhooknotifyworker/__init__.py mq.json -w webhooknotify.yaml``."""
    runner(WebhookNotifyWorker)


if __name__ == "__main__":
    main()
