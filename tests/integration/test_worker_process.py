"""Workers as processes on real brokers: bad code, bad messages, kills, signals, exit codes."""

from __future__ import annotations

import json
import signal
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.worker_support import READY, SCRIPTED, FakeCore, start_scripted
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.waiting import wait_until

Start = Callable[..., Process]


@pytest.fixture
def core(any_broker_url: str) -> Iterator[FakeCore]:
    with FakeCore(any_broker_url) as made:
        yield made


GOOD_ENDS = [
    ("complete", ["started", "completed"]),
    ("fail", ["started", "failed"]),
    ("raise", ["started", "failed"]),
    ("system_exit", ["started", "failed"]),
    ("keyboard_interrupt", ["started", "failed"]),
    ("never_ack", ["started", "completed"]),
    ("double_ack", ["started", "completed"]),
    ("silent", ["started", "failed"]),
    ("reject", ["failed"]),
    ("complete_twice", ["started", "completed"]),
    ("send_nowhere", ["started", "completed"]),
    ("unserialisable", ["started", "failed"]),
    ("fork", ["started", "completed"]),
    ("send_from_thread", ["started", "completed"]),
    ("change_folder", ["started", "completed"]),
    ("install_handler", ["started", "failed"]),
    ("print", ["started", "completed"]),
    ("chatty", ["started", "completed"]),
]


def test_worker_survives_all_bad_code_when_it_runs(
    process: Start, core: FakeCore, any_broker_url: str
) -> None:
    worker = start_scripted(process, any_broker_url)
    for level in (1, 2):
        for number, (outcome, statuses) in enumerate(GOOD_ENDS, start=100 * level):
            core.wait(core.send(number, level, outcome=outcome, count=500), *statuses)
    assert worker.is_running
    assert worker.terminate() == 0


BAD_BODIES = [b"", b"not json", b"[1]", b"null", b"\xff\xfe", b'{"parameters": []}', b"{" * 3000]


def test_worker_answers_and_goes_on_when_messages_are_malformed(
    process: Start, core: FakeCore, any_broker_url: str
) -> None:
    start_scripted(process, any_broker_url)
    for number, body in enumerate([*BAD_BODIES, b'{"x": "' + b"x" * 2_000_000 + b'"}']):
        core.wait(core.send_raw(f"{number:024x}.9", body), "failed")
    core.send_raw("../../x", b"broken", reply_to=None)
    core.send_raw("gone", b"broken", reply_to="no.such.queue")
    core.send_raw("zip", b"{}", content_encoding="gzip")
    core.wait(core.send(99), "started", "completed")
    wait_until(lambda: len(core.dead) == len(BAD_BODIES) + 4, 60)


@pytest.mark.parametrize("outcome", ["exit", "segfault"])
@pytest.mark.parametrize(("level", "end"), [(2, "unknown"), (1, "failed")])
def test_step_is_answered_by_the_next_worker_when_one_dies_in_it(
    process: Start, core: FakeCore, any_broker_url: str, outcome: str, level: int, end: str
) -> None:
    """The plugin acknowledges first, as the tutorial's does; the delivery is safe all the same."""
    first = start_scripted(process, any_broker_url)
    attempt = core.send(1, level, outcome=outcome)
    assert first.wait() != 0
    start_scripted(process, any_broker_url)
    wait_until(lambda: core.statuses(attempt)[-1:] == [end], message=end)
    core.wait(core.send(2, level), "started", "completed")


def test_running_step_ends_when_the_worker_is_told_to_stop(
    process: Start, core: FakeCore, any_broker_url: str
) -> None:
    worker = start_scripted(process, any_broker_url)
    attempt = core.send(1, outcome="slow", seconds=1.0)
    core.wait_for(attempt, "started")
    assert worker.terminate() == 0
    core.wait(attempt, "started", "completed")


def test_worker_ends_at_once_when_told_to_stop_twice(
    process: Start, core: FakeCore, any_broker_url: str
) -> None:
    worker = start_scripted(process, any_broker_url)
    core.wait(core.send(1, outcome="hang"), "started")
    worker.send_signal(signal.SIGTERM)
    worker.wait_for_line("stopping")
    worker.send_signal(signal.SIGINT)
    assert worker.wait() == 1


def test_stacks_are_shown_when_sigusr1_comes(process: Start, core: FakeCore, any_broker_url: str) -> None:
    worker = start_scripted(process, any_broker_url)
    core.wait_for(core.send(1, outcome="slow", seconds=2.0), "started")
    worker.send_signal(signal.SIGUSR1)
    worker.wait_for_line("in _wait")
    core.wait(core.send(2), "started", "completed")


def test_instances_work_at_the_same_time_when_there_are_several(
    process: Start, core: FakeCore, any_broker_url: str
) -> None:
    start_scripted(process, any_broker_url, "--instances", "3")
    attempts = [core.send(number, outcome="slow", seconds=1.5) for number in range(3)]
    for attempt in attempts:
        core.wait(attempt, "started", "completed")
    kinds = [json.loads(one.body)["status"] for one in core.replies]
    assert kinds == ["started"] * 3 + ["completed"] * 3, "each had begun before any was over"


def test_exit_code_is_2_when_the_settings_are_wrong(process: Start, tmp_path: Path) -> None:
    assert process(*SCRIPTED, str(tmp_path / "missing.json")).wait() == 2
    assert process(*SCRIPTED, environment={"REWORKER_MQ": None}).wait() == 2
    bad = process(*SCRIPTED, "amqp://x", environment={"REWORKER_SCRIPTED_ACK": "soon"})
    assert bad.wait() == 2
    assert "REWORKER_SCRIPTED_ACK" in bad.output


def test_exit_code_is_3_when_no_broker_answers(process: Start) -> None:
    url = f"amqp://guest:secret@127.0.0.1:{free_port()}/"
    worker = process(*SCRIPTED, environment={"REWORKER_MQ": url, "REWORKER_CONNECT_TIMEOUT_S": "0.5"})
    assert worker.wait() == 3
    assert "secret" not in worker.output


CLASSIC = textwrap.dedent(
    """
    #!/usr/bin/env python
    import reworker.worker
    import logging
    import random

    class MegafrobberWorker(reworker.worker.Worker):
        def _draw(self):
            return random.choice([0, 1])

        def process(self, channel, basic_deliver, properties, body, output):
            self.output = output
            self.corr_id = str(properties.correlation_id)
            dynamic = body.get('dynamic', {})
            self.reply_to = properties.reply_to
            self._subcommands = ['frob']
            wanted = body['parameters'].get('subcommand', None)
            if wanted not in self._subcommands:
                self.reject(basic_deliver)
                self.app_logger.error("%s - no subcommand %s" % (self.corr_id, wanted))
                self.notify('Frobbing failed', 'no such subcommand', 'failed', self.corr_id)
                self.send(self.reply_to, self.corr_id,
                          {'status': 'failed', "message": "no subcommand %s" % wanted}, exchange='')
                return False
            self.ack(basic_deliver)
            self.send(self.reply_to, self.corr_id, {'status': 'started'}, exchange='')
            self.app_logger.info('frobbing')
            end = 'failed' if self._draw() else 'completed'
            self.notify('Frobbing ' + end, 'drawn', end, self.corr_id)
            self.send(self.reply_to, self.corr_id, {'status': end, "message": 'drawn'}, exchange='')
            return end == 'completed'

    def main():
        from reworker.worker import runner
        runner(MegafrobberWorker)

    if __name__ == '__main__':
        main()
    """
).lstrip()


def test_classic_worker_runs_from_its_own_folder_when_written_as_in_2014(
    process: Start, core: FakeCore, any_broker_url: str, tmp_path: Path
) -> None:
    """The tutorial's folders, shape and start: ``python replugin/megafrobberworker/__init__.py``."""
    package = tmp_path / "replugin" / "megafrobberworker"
    package.mkdir(parents=True)
    (tmp_path / "replugin" / "__init__.py").touch()
    (package / "__init__.py").write_text(CLASSIC, encoding="utf-8")
    worker = process("replugin/megafrobberworker/__init__.py", any_broker_url, folder=tmp_path)
    worker.wait_for_line(READY)
    ends = set()
    for number in range(12):
        attempt = core.send(number, 1, "worker.megafrobber", subcommand="frob")
        wait_until(lambda one=attempt: len(core.statuses(one)) == 2)  # type: ignore[misc]  # bound in the loop
        ends.add(core.statuses(attempt)[1])
    assert ends <= {"completed", "failed"}
    attempt = core.send(50, 1, "worker.megafrobber", subcommand="nonsense")
    core.wait(attempt, "failed")
    wait_until(lambda: len(core.dead) == 1)
    assert worker.terminate() == 0
