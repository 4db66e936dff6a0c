"""How a queue stands, as the broker answers who looks at it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class QueueState(msgspec.Struct, frozen=True):
    """A queue as the broker sees it; `is_there` False is none of this name, or one that we may not see."""

    is_there: bool
    message_count: int = 0
    consumer_count: int = 0


#: is called with the state of a queue, or with None when it cannot be known.
OnFound = Callable[[QueueState | None], None]
