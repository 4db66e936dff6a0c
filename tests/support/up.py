"""`reworker up` as a process, with a token for whoever asks: the whole product behind one address."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from reworker.cli.wiring import opened_storage
from reworker.clock import SystemClock
from reworker.core.access import Access
from reworker.core.principal import Limits, Scope
from tests.support.processes import Process

#: seconds in which it is ready, on a busy day.
READY_S = 60.0


class Up:
    """Runs until closed; without a code worker, which tests of it start themselves.

    Args:
        folder: for its state.
        options: further arguments of `up`.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        arguments = ("up", "--state", str(folder / "state"), "--mq-port", "0", "--port", "0")
        if "--code-slots" not in options:
            options = (*options, "--code-slots", "0")
        self.process = Process("-m", "reworker", *arguments, *options, folder=folder)
        self.process.wait_for_line("add a worker:", READY_S)
        self.db = f"sqlite:///{folder / 'state' / 'reworker.db'}"
        found = re.search(r"dashboard and API: (\S+)", self.process.output)
        assert found, self.process.output
        self.url = found[1]

    def token(self, *scopes: Scope, name: str = "ann", groups: Iterable[str] = ()) -> str:
        """Make a token."""
        with opened_storage(self.db) as (storage, _), closing(Access(storage, SystemClock())) as access:
            return access.create_token(name, scopes, Limits(groups=tuple(groups)))[1]

    def close(self) -> None:
        """End it, with what it started."""
        self.process.close()
