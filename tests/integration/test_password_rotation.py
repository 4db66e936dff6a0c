"""The password is changed while a step runs: on a real RabbitMQ, by its file, without a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.worker_support import READY, SCRIPTED, FakeCore
from tests.support.operators import Endpoint, json_lines
from tests.support.processes import Process
from tests.support.rabbitmq import RabbitMQNode
from tests.support.waiting import wait_until

Start = Callable[..., Process]
pytestmark = pytest.mark.rabbitmq


class Account:
    """A user of a broker who may do everything in one virtual host."""

    def __init__(self, node: RabbitMQNode, vhost: str) -> None:
        self._node, self.name = node, f"user-{vhost}"
        self._run(f'add_user(<<"{self.name}">>, <<"first-secret">>, <<"test">>)')
        everything = '<<".*">>, <<".*">>, <<".*">>'
        self._run(f'set_permissions(<<"{self.name}">>, <<"{vhost}">>, {everything}, <<"test">>)')

    def _run(self, call: str) -> None:
        self._node.evaluate(f"ok = rabbit_auth_backend_internal:{call}")

    def change_password(self, password: str) -> None:
        self._run(f'change_password(<<"{self.name}">>, <<"{password}">>, <<"test">>)')

    def close_connections(self) -> None:
        """Close them from the broker's side, as `rabbitmqctl close_all_user_connections` does."""
        self._node.evaluate(
            f'[rabbit_networking:close_connection(P, "rotated") || [{{pid, P}}, {{user, <<"{self.name}">>}}] '
            "<- rabbit_networking:connection_info_all([pid, user])]"
        )

    def close(self) -> None:
        self._run(f'delete_user(<<"{self.name}">>, <<"test">>)')


@pytest.fixture
def vhost(rabbitmq: RabbitMQNode) -> Iterator[str]:
    made = rabbitmq.add_vhost()
    yield made
    rabbitmq.delete_vhost(made)


@pytest.fixture
def account(rabbitmq: RabbitMQNode, vhost: str) -> Iterator[Account]:
    made = Account(rabbitmq, vhost)
    yield made
    made.close()


def test_new_password_is_read_and_the_step_that_runs_is_not_disturbed(
    process: Start, rabbitmq: RabbitMQNode, vhost: str, account: Account, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text("first-secret\n")
    lines = [f"server: 127.0.0.1:{rabbitmq.port}", f"vhost: {vhost}", f"user: {account.name}"]
    (tmp_path / "mq.yaml").write_text("\n".join([*lines, "password: outdated"]))
    with FakeCore(rabbitmq.url(vhost)) as core:
        worker = process(
            *(*SCRIPTED, str(tmp_path / "mq.yaml"), "--health", "0", "--log-format", "json"),
            environment={"REWORKER_MQ_PASSWORD_FILE": str(secret)},
        )
        worker.wait_for_line(READY)
        attempt = core.send(1, outcome="slow", seconds=4)
        core.wait(attempt, "started")
        account.change_password("second-secret")
        account.close_connections()
        wait_until(lambda: "ACCESS_REFUSED" in worker.output, 60, "the old password to be refused")
        endpoint = Endpoint(worker)
        endpoint.wait_for("/readyz", 503, "ACCESS_REFUSED")
        secret.write_text("second-secret\n")
        endpoint.wait_for("/readyz", 200)
        core.wait(attempt, "started", "completed")
        core.wait(core.send(2), "started", "completed")
        assert worker.terminate() == 0
    assert "secret" not in worker.output
    assert {"at", "level", "logger", "message"} <= json_lines(worker.output)[0].keys()


def test_settings_without_a_password_that_can_be_read_end_the_start(process: Start, tmp_path: Path) -> None:
    (tmp_path / "mq.yaml").write_text("password_file: /nowhere/password\n")
    worker = process(*SCRIPTED, str(tmp_path / "mq.yaml"))
    assert worker.wait() == 2
    assert "cannot read /nowhere/password" in worker.output
