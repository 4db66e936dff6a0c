"""Properties of a message as received, whatever object the bus has for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

#: stands for the property of that name, in messages of tools that cannot set it.
CORRELATION_HEADER = "x-correlation-id"


class PropertiesView(Protocol):
    """Properties as received: the attributes of `Properties`, on whatever object the bus has."""

    @property
    def headers(self) -> Mapping[str, Any] | None:
        """Application headers."""
        ...

    @property
    def content_encoding(self) -> str | None:
        """For example ``gzip``; ours is absent or ``utf-8``."""
        ...

    @property
    def priority(self) -> int | None:
        """Which of the messages of a queue goes first; queues that do not sort ignore it."""
        ...

    @property
    def correlation_id(self) -> str | None:
        """Id that connects all messages of one attempt."""
        ...

    @property
    def reply_to(self) -> str | None:
        """Queue for replies."""
        ...

    @property
    def message_id(self) -> str | None:
        """Unique id of the message, when its sender gave one."""
        ...

    @property
    def app_id(self) -> str | None:
        """Name of the sender."""
        ...

    @property
    def user_id(self) -> str | None:
        """User that sent it: brokers refuse a message that names another than that of its connection."""
        ...


def correlation_of(properties: PropertiesView) -> str | None:
    """Return the correlation id of a message to the core, also from a tool that sets only headers."""
    if properties.correlation_id or not properties.headers:
        return properties.correlation_id
    found = properties.headers.get(CORRELATION_HEADER)
    return found if isinstance(found, str) else None
