"""The code worker beside `up`: a process of its own, with a token of its own for as long as it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from reworker.cli.local_process import LocalProcess
from reworker.clock import SystemClock

if TYPE_CHECKING:
    from reworker.storage.contract import Storage

#: name of its token.
NAME = "code worker of up"


@contextmanager
def running_code_worker(storage: Storage, mq: str, server: str, slot_count: int) -> Iterator[None]:
    """Run the tasks of code packages for the block.

    Args:
        storage: keeps its token.
        mq: URL of the broker.
        server: URL of our HTTP side, which has the packages.
        slot_count: tasks at once; 0 runs none.
    """
    if not slot_count:
        yield
        return
    from reworker.core.access import Access
    from reworker.core.principal import Scope

    arguments = ("worker", "code", "--instances", str(slot_count))
    with closing(Access(storage, SystemClock())) as access:
        view, token = access.create_token(NAME, [Scope.WORKER], actor=NAME)
        variables = {"REWORKER_MQ": mq, "REWORKER_SERVER": server, "REWORKER_TOKEN": token}
        try:
            with LocalProcess("code worker", arguments, variables):
                yield
        finally:
            access.revoke(view.id, actor=NAME)
