"""Asking the broker whether it knows us by the name on our messages: it would take none of them otherwise."""

from __future__ import annotations

from reworker.bus.contract import Bus, Outgoing, Properties, publish_and_tell
from reworker.errors import ConfigError

#: seconds for its answer; a broker that is slower takes no messages now, and is not asked again.
ANSWER_S = 5.0
#: key by which nothing is routed. RabbitMQ looks at the name first.
NOWHERE = "re.nobody"
PRECONDITION_FAILED = 406


def require_own_name(bus: Bus) -> None:
    """Make sure that the broker knows us so; nothing is asked when our messages carry no name.

    Args:
        bus: open; not on its I/O thread.

    Raises:
        ConfigError: it takes us for somebody else.
    """
    if not bus.user_id:
        return
    result = publish_and_tell(bus, Outgoing("", NOWHERE, b"", Properties()), deadline_s=ANSWER_S)
    if result.reply_code == PRECONDITION_FAILED:
        reason = f"messages name {bus.user_id!r} as their sender, and the broker answers: {result.reason}"
        raise ConfigError(f"{reason}; give the name by which it knows this login", key="stamp_user")
