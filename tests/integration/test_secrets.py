"""What must not be shown is shown nowhere: output lines, the log, errors; and TLS that fails at the start."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from reworker.bus.contract import BindingSpec, Delivery, QueueSpec, TopologySpec, Verdict
from tests.integration.worker_support import FakeCore
from tests.support.authority import Authority
from tests.support.operators import json_lines
from tests.support.processes import Process
from tests.support.tls_listener import embedded_listener
from tests.support.waiting import wait_until

Start = Callable[..., Process]

TALKATIVE = textwrap.dedent(
    """
    import logging
    from reworker.worker import Job, Worker, step

    class TalkativeWorker(Worker):
        @step("Tell")
        def tell(self, job: Job) -> str:
            job.output.info("calling with token=abc123 now")
            self.app_logger.info("token=abc123 for amqp://me:hunter-23@host/")
            raise ValueError("token=abc123 did not work")
    """
)


def test_worker_masks_what_its_settings_name_in_output_and_log(
    process: Start, broker_url: str, tmp_path: Path
) -> None:
    (tmp_path / "talkative.py").write_text(TALKATIVE)
    (tmp_path / "worker.json").write_text(json.dumps({"redactions": [r"token=\w+"], "log_format": "json"}))
    lines: list[str] = []

    def keep(delivery: Delivery) -> None:
        lines.append(json.loads(delivery.body)["message"])
        delivery.settle(Verdict.ACK)

    with FakeCore(broker_url) as core:
        queue = TopologySpec(queues=(QueueSpec("lines"),), bindings=(BindingSpec("re", "lines", "output"),))
        core.bus.declare(queue)
        core.bus.consume("lines", keep, prefetch=0)
        worker = process(
            *("-m", "reworker", "worker", "talkative:TalkativeWorker", broker_url, "-w", "worker.json")
        )
        worker.wait_for_line("consuming")
        attempt = core.send(1, key="worker.talkative", subcommand="Tell")
        core.wait(attempt, "started", "failed")
        wait_until(lambda: lines)
        worker.terminate()
    assert lines == ["calling with [redacted] now"]
    records = [one for one in json_lines(worker.output) if one.get("correlation_id") == attempt]
    assert records[0]["message"] == "[redacted] for amqp://me:***@host/"
    assert "ValueError: [redacted] did not work" in records[1]["error"]
    assert "abc123" not in worker.output


@pytest.mark.parametrize(
    ("own", "change", "code", "words"),
    [
        ("expired", {}, 3, "certificate has expired; renew it on the broker"),
        ("server", {"cert": "server.pem", "key": "expired.key"}, 2, "is not the key of the certificate"),
    ],
)
def test_daemon_that_cannot_speak_tls_ends_and_says_what_to_do(
    process: Start, tmp_path: Path, own: str, change: dict[str, str], code: int, words: str
) -> None:
    authority = Authority(tmp_path)
    papers = {"server": authority.sign("server"), "expired": authority.sign("expired", days=-1)}
    with embedded_listener(papers[own]) as port:
        tls = {"ca": "authority.pem", **change}
        (tmp_path / "mq.json").write_text(json.dumps({"server": f"localhost:{port}", "ssl": tls}))
        worker = process(
            *("-m", "reworker", "worker", "noop", "mq.json"),
            environment={"REWORKER_CONNECT_TIMEOUT_S": "2"},
        )
        assert worker.wait() == code
    assert words in worker.output
