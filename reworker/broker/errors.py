"""Replies that close a channel or a connection, with the codes of AMQP 0-9-1 and RabbitMQ's texts."""

from __future__ import annotations

from reworker.errors import ReworkerError

#: reply code -> the name that begins the reply text. Source: AMQP 0-9-1, constants.
NAMES = {
    200: "OK",
    311: "CONTENT_TOO_LARGE",
    312: "NO_ROUTE",
    320: "CONNECTION_FORCED",
    403: "ACCESS_REFUSED",
    404: "NOT_FOUND",
    405: "RESOURCE_LOCKED",
    406: "PRECONDITION_FAILED",
    501: "FRAME_ERROR",
    502: "SYNTAX_ERROR",
    503: "COMMAND_INVALID",
    504: "CHANNEL_ERROR",
    505: "UNEXPECTED_FRAME",
    530: "NOT_ALLOWED",
    540: "NOT_IMPLEMENTED",
    541: "INTERNAL_ERROR",
}

#: codes that close the channel only; every other one closes the connection. Source: AMQP 0-9-1, constants.
SOFT_CODES = frozenset({311, 403, 404, 405, 406})


class BrokerError(ReworkerError):
    """A client broke a rule; its channel or connection is closed with this reply.

    Args:
        code: AMQP reply code.
        text: what is wrong, without the code's name.
        method_id: class and method id of the offending method, each 16 bits; 0 when there is none.
    """

    def __init__(self, code: int, text: str, method_id: int = 0) -> None:
        self.code, self.text, self.method_id = code, text, method_id
        super().__init__(self.reply_text)

    @property
    def reply_text(self) -> str:
        """The text for the wire, for example ``NOT_FOUND - no queue 'x' in vhost '/'``."""
        return f"{NAMES.get(self.code, 'INTERNAL_ERROR')} - {self.text}"

    @property
    def is_soft(self) -> bool:
        """Whether only the channel is closed."""
        return self.code in SOFT_CODES


def refused(text: str) -> BrokerError:
    """Return the error for something that nobody may do."""
    return BrokerError(403, text)


def not_found(kind: str, name: str, vhost: str) -> BrokerError:
    """Return the error for an unknown queue or exchange."""
    return BrokerError(404, f"no {kind} '{name}' in vhost '{vhost}'")


def precondition_failed(text: str) -> BrokerError:
    """Return the error for a request that does not fit what exists."""
    return BrokerError(406, text)


def not_implemented(text: str) -> BrokerError:
    """Return the error for what this broker leaves out, as RabbitMQ does or on purpose."""
    return BrokerError(540, text)
