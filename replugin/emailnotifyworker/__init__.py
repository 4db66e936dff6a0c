"""email: sends notifications, the messages with the key ``notify.email``, as mail; also the step `Send`.

Its settings: ``host``, ``from`` (both required), ``port``, ``encryption`` (``starttls``, ``tls``, ``none``),
``ca``, ``user``, ``password`` or ``password_file``, ``subject_prefix``, ``server_timeout_s``, ``retry_s``.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import smtplib
from collections.abc import Iterator, Mapping
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, parseaddr
from typing import Annotated, Any, Literal

import msgspec

from reworker.errors import JobFailed, JobRetry
from reworker.worker import Job, Notification, Worker, notification_of, runner, secret_of, step, tls_context

#: port for each kind of encryption, where none is given.
PORTS = {"none": 25, "starttls": 587, "tls": 465}
#: what a recipient has to look like: plain ASCII, nothing that a mail header or SMTP reads in another way.
ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class EmailSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename={"sender": "from"}):
    """The worker's own settings."""

    host: str
    sender: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None
    encryption: Literal["starttls", "tls", "none"] = "starttls"
    ca: str | None = None
    user: str | None = None
    password: str | None = None
    password_file: str | None = None
    subject_prefix: str = "[reworker] "
    server_timeout_s: Seconds = 30.0
    retry_s: Annotated[tuple[Seconds, ...], msgspec.Meta(min_length=1)] = (10.0, 30.0, 60.0, 300.0, 900.0)

    def __post_init__(self) -> None:
        """Check what no type can say.

        Raises:
            ValueError: it is wrong.
        """
        self.password, self.password_file = secret_of(self.password, self.password_file), None
        if not ADDRESS.fullmatch(parseaddr(self.sender)[1]) or not self.sender.isprintable():
            raise ValueError(f"from: {self.sender!r} has no mail address")
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password belong together; give both or none")
        if self.user is not None and self.encryption == "none":
            raise ValueError("a password is sent encrypted only; set encryption to starttls or tls")
        if not f"{self.user}{self.password}".isascii():
            raise ValueError("user and password have to be ASCII for SMTP")
        if self.ca is not None:
            tls_context(self.ca)


class Sent(msgspec.Struct):
    """What became of the recipients of one mail; a reason for each that was refused."""

    accepted: list[str]
    refused: dict[str, str]
    later: dict[str, str]


class EmailNotifyWorker(Worker):
    """Sends one mail for each notification; a recipient who is refused does not cost the others theirs."""

    routing_keys = ("notify.email", "worker.emailnotify")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("queue", "emailnotify")
        super().__init__(*args, **kwargs)
        self._email = self.own_settings(EmailSettings)
        self._tls = tls_context(self._email.ca)

    def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
        """Send a notification; a step goes its own way."""
        if "parameters" in body:
            super().process(channel, basic_deliver, properties, body, output)
            return
        note, corr_id = notification_of(body), properties.correlation_id or ""
        sent = self._send(note, corr_id, properties.message_id or corr_id)
        if sent.later:
            raise JobRetry(self._email.retry_s, _reasons(sent.later), changes={"target": list(sent.later)})

    @step("Send")
    def send_mail(
        self, job: Job, *, slug: str, message: str, target: list[str], phase: str = "completed"
    ) -> dict[str, Any]:
        """Send a mail to the addresses in `target`."""
        sent = self._send(Notification(slug, message, phase, target), job.id, job.id)
        if sent.later:
            left = {"parameters": {**job.parameters, "target": list(sent.later)}}
            raise JobRetry(self._email.retry_s, _reasons(sent.later), changes=left)
        return {"sent": sent.accepted, "refused": sent.refused}

    def _send(self, note: Notification, corr_id: str, seed: str) -> Sent:
        """Send a mail to all recipients that are addresses.

        Raises:
            JobFailed: nobody will ever get it.
            JobRetry: nobody has got it yet.
        """
        refused = {one: "is no mail address" for one in note.target if not ADDRESS.fullmatch(one)}
        wanted = [one for one in dict.fromkeys(note.target) if one not in refused]
        sent = Sent([], refused, {})
        if wanted:
            mail = mail_of(note, self._email, wanted, corr_id, seed)
            sort_refusals(self._submit(mail, wanted), wanted, sent)
        for address, reason in sent.refused.items():
            self.app_logger.error("%s: no mail to %r: %s", corr_id, address, reason)
        if not sent.accepted and not sent.later:
            raise JobFailed(f"no mail was sent: {_reasons(sent.refused) or 'nobody is named'}", sent.refused)
        return sent

    def _submit(self, mail: EmailMessage, wanted: list[str]) -> Mapping[str, tuple[int, bytes]]:
        """Hand a mail to the server and return whom it refused, with code and text."""
        try:
            with self._server() as server:
                return server.send_message(mail, parseaddr(self._email.sender)[1], wanted)
        except smtplib.SMTPRecipientsRefused as error:
            return error.recipients
        except smtplib.SMTPResponseException as error:
            text = f"{self._email.host} answered {_text_of(error.smtp_code, error.smtp_error)}"
            if _is_temporary(error.smtp_code):
                raise JobRetry(self._email.retry_s, text) from error
            raise JobFailed(text) from error
        except smtplib.SMTPNotSupportedError as error:
            raise JobFailed(f"{self._email.host} cannot do what the settings ask for: {error}") from error
        except OSError as error:
            text = f"{self._email.host} cannot be reached: {error or type(error).__name__}"
            raise JobRetry(self._email.retry_s, text) from error

    @contextlib.contextmanager
    def _server(self) -> Iterator[smtplib.SMTP]:
        """Connect and log in; what goes wrong with the farewell is of no interest: the mail is on its way."""
        own = self._email
        port = own.port or PORTS[own.encryption]
        if own.encryption == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                own.host, port, timeout=own.server_timeout_s, context=self._tls
            )
        else:
            server = smtplib.SMTP(own.host, port, timeout=own.server_timeout_s)
        try:
            if own.encryption == "starttls":
                server.starttls(context=self._tls)
            if own.user is not None and own.password is not None:
                server.login(own.user, own.password)
            yield server
            with contextlib.suppress(OSError):
                server.quit()
        finally:
            server.close()


def mail_of(
    note: Notification, settings: EmailSettings, wanted: list[str], corr_id: str, seed: str
) -> EmailMessage:
    """Return the mail of a notification; the same notification always makes one of the same Message-ID."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = settings.sender
    mail["To"] = ", ".join(wanted)
    mail["Subject"] = one_line(f"{settings.subject_prefix}{note.slug}")
    mail["Date"] = formatdate(usegmt=True)
    digest = hashlib.sha256("\0".join((seed, note.slug, note.message, note.phase)).encode(errors="replace"))
    mail["Message-ID"] = f"<{digest.hexdigest()[:32]}@{parseaddr(settings.sender)[1].partition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    text = note.message.encode(errors="replace").decode()
    mail.set_content(f"{text}\n\n-- \nphase: {one_line(note.phase)}\njob: {one_line(corr_id)}\n")
    return mail


def sort_refusals(answers: Mapping[str, tuple[int, bytes]], wanted: list[str], sent: Sent) -> None:
    """Note what became of each recipient."""
    sent.accepted += [one for one in wanted if one not in answers]
    for address, (code, text) in answers.items():
        place = sent.later if _is_temporary(code) else sent.refused
        place[address] = _text_of(code, text)


def one_line(text: str) -> str:
    """Return a text fit for a header: no line breaks, no control characters."""
    plain = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(plain.split())


def _is_temporary(code: int) -> bool:
    """A code that is none (-1: the server has gone) is no answer, so that another try may get one."""
    return not 500 <= code <= 599


def _text_of(code: int, text: bytes | str) -> str:
    return f"{code} {one_line(text.decode(errors='replace') if isinstance(text, bytes) else text):.300}"


def _reasons(refused: Mapping[str, str]) -> str:
    return "; ".join(f"{address!r}: {reason}" for address, reason in refused.items())


def main() -> None:
    """Run this worker: ``python replugin/emailnotifyworker/__init__.py mq.json -w emailnotify.yaml``."""
    runner(EmailNotifyWorker)


if __name__ == "__main__":
    main()
