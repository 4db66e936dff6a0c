"""A real SMTP server for tests: keeps the mails it gets, and refuses what its test wants refused."""

from __future__ import annotations

import ssl
import warnings
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support.ports import free_port

#: seconds in which it listens, on a busy machine.
READY_S = 60.0


class Mail:
    """One mail as it came: sender and recipients of the envelope, the message itself, and how it came."""

    def __init__(self, envelope: Envelope, session: Session) -> None:
        self.sender, self.recipients = envelope.mail_from, list(envelope.rcpt_tos)
        parsed = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        self.message = parsed
        self.is_starttls = session.ssl is not None
        self.login = session.auth_data

    @property
    def text(self) -> str:
        """Its text."""
        text: str = self.message.get_content()
        return text.replace("\r\n", "\n")


class SmtpServer:
    """Listens on a free port of localhost while it is entered.

    Args:
        tls: for STARTTLS, or with `is_tls` from the first byte on.
        password: of the user ``reworker``; empty wants no login.
    """

    def __init__(
        self, tls: ssl.SSLContext | None = None, *, is_tls: bool = False, password: str = ""
    ) -> None:
        self.mails: list[Mail] = []
        #: answers by recipient, and to the mail as a whole; none is "250 OK".
        self.refusals: dict[str, str] = {}
        self.verdict = ""
        self._password = password
        options: dict[str, Any] = {"auth_required": bool(password), "authenticator": self._authenticate}
        if is_tls:
            options["auth_require_tls"] = False  # it would look for STARTTLS, and warns in vain
            warnings.filterwarnings("ignore", "Requiring AUTH", UserWarning)
        if tls is not None and is_tls:
            options |= {"ssl_context": tls}
        elif tls is not None:
            options |= {"tls_context": tls}
        #: where it listens.
        self.port = free_port()
        options["ready_timeout"] = READY_S
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **options)

    def __enter__(self) -> SmtpServer:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, data: Any
    ) -> Any:
        assert isinstance(data, LoginPassword)
        is_right = (data.login, data.password) == (b"reworker", self._password.encode())
        return AuthResult(success=is_right, handled=False, auth_data=data.login)

    async def handle_RCPT(  # noqa: N802  the name that aiosmtpd looks for
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take a recipient, or do not."""
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  the name that aiosmtpd looks for
        """Take a mail, or do not."""
        if self.verdict:
            return self.verdict
        self.mails.append(Mail(envelope, session))
        return "250 OK"
