"""Tasks that start processes without end: bounded by the kernel, reaped at once, ended at the first word.

Few processes and a short time, for other tests run beside these.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import pytest

from reworker.codes.isolation import isolation_here
from reworker.codes.keepers import Keeper, Place, Request
from reworker.codes.process import PATH
from tests.support.waiting import wait_until

#: of the user that the bomb runs as, whom nobody else is; its processes; seconds until it is ended.
UID, PROCESS_COUNT, BURN_S = 61_999, 40, 0.5
#: seconds that its end may take, on a busy day.
END_S = 30.0
#: each process leaves its group, starts others that lose their parent, and half of these end at once.
BOMB = """
import os
while True:
    try:
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            if os.getpid() % 2:
                os._exit(0)
    except OSError:
        pass
"""

pytestmark = pytest.mark.skipif(not isolation_here().own_users, reason="only root gives the bomb a user")

needs_namespaces = pytest.mark.skipif(
    not isolation_here().namespaces, reason="this machine gives no namespaces"
)


def of_user(uid: int) -> Iterator[str]:
    """Yield the ids of the processes of a user, while they come and go."""
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if place.stat().st_uid == uid:
                yield place.name


@pytest.fixture(params=["proc", pytest.param("namespaces", marks=needs_namespaces)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    own = Place(uid=UID, limits={"RLIMIT_NPROC": PROCESS_COUNT})
    if request.param == "proc":
        yield own
        return
    with tempfile.TemporaryDirectory() as top:
        yield msgspec.structs.replace(own, namespaces=True, own_proc=isolation_here().own_proc, top=top)


def test_bomb_is_bounded_and_ended_at_the_first_word(place: Place) -> None:
    environment = {"PATH": PATH}
    program = shutil.which("python3", path=PATH)
    assert program
    request = Request([program, "-I", "-S", "-c", BOMB], environment, "/")
    with closing(Keeper(place)) as keeper, open(os.devnull, "wb") as nothing:
        keeper.run(request, nothing.fileno(), nothing.fileno())
        wait_until(lambda: len(list(of_user(UID))) >= PROCESS_COUNT // 2, END_S, "the bomb to burn")
        begin_mono_s = time.monotonic()
        while time.monotonic() - begin_mono_s < BURN_S:
            # those that both looks have seen were there between the two, all at once
            assert len(set(of_user(UID)) & set(of_user(UID))) <= PROCESS_COUNT
        keeper.signal(signal.SIGKILL)
        assert keeper.exit_code(END_S) == 128 + signal.SIGKILL
        assert list(of_user(UID)) == []
        keeper.run(Request(["/bin/true"], environment, "/"), nothing.fileno(), nothing.fileno())
        assert keeper.exit_code(END_S) == 0
