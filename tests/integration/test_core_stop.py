"""A core with threads that is stopped while it still has something to write."""

from __future__ import annotations

import threading
from pathlib import Path

from reworker.bus.memory import MemoryBroker, MemoryBus
from reworker.core.core import Core
from reworker.core.settings import CoreSettings
from reworker.storage.log import SqlLog, log_path
from tests.component.core.kit import FusedStorage, playbook
from tests.support.waiting import wait_until

#: seconds within which a thread that has been told to end would have ended.
END_S = 0.5


class Gate:
    """Keeps the core's thread from writing, once another thread has, until it is opened.

    There is one connection for writing: held at the gate before that, the other thread would wait for it.
    """

    def __init__(self) -> None:
        self.is_met, self.is_open, self.is_shut = (threading.Event() for _ in range(3))

    def pass_through(self) -> None:
        if threading.current_thread().name != "core":
            self.is_shut.set()
        elif self.is_shut.is_set():
            self.is_met.set()
            self.is_open.wait()


def test_log_file_tells_what_the_core_did_while_it_was_being_stopped(tmp_path: Path) -> None:
    bus, path, folder = MemoryBus(MemoryBroker(), name="core"), tmp_path / "core.db", tmp_path / "releases"
    bus.open(timeout_s=1)
    storage, logs = FusedStorage(path), SqlLog(log_path(path))
    core = Core(bus, storage, logs, CoreSettings(release_log_dir=str(folder)))
    core.start()
    gate = Gate()
    storage.fault = gate.pass_through
    own_id = core.service.submit(playbook())
    gate.is_met.wait()
    stopping = threading.Thread(target=core.stop)
    log = next(one for one in threading.enumerate() if one.name == "core release log")
    stopping.start()
    wait_until(core.loop._stopping.is_set)
    log.join(END_S)
    gate.is_open.set()
    stopping.join()
    assert str(core.service.deployment(own_id).state.status) == "failed", "no queue takes its step"
    assert 'deploy_phase="cleanup"' in (folder / f"FSM-{own_id}.log").read_text()
    for one in (bus, storage, logs):
        one.close()
