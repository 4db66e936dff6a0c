"""A worker with a list of senders on RabbitMQ, where other users have the printed rights."""

import json
from contextlib import closing
from pathlib import Path

import pika
import pytest

from reworker.cli.wiring import opened_service
from tests.integration.cli_support import reworker
from tests.integration.topology_support import Users, channel_of, connected, requested
from tests.support.waiting import wait_until

pytestmark = pytest.mark.rabbitmq

PLAYBOOK = """
group: web
name: from the core
execution:
- hosts: [web1]
  steps: [narrow:Again, narrow:Long]
"""
#: of a step that would be seen to run: it says something, and answers.
STEP = {"group": "web", "parameters": {"command": "narrow", "subcommand": "Talk", "hosts": ["web1"]}}
HEADERS = {"x-reworker": 2, "x-attempt": 1}


class Stage:
    """A worker that accepts the core alone, and the other users."""

    def __init__(self, users, process, channel):
        self.users, self.channel = users, channel
        script = str(Path(__file__).with_name("narrow_worker.py"))
        variables = {"REWORKER_DECLARE": "verify", "REWORKER_ACCEPT_FROM": users.names["CORE"]}
        self.worker = process(script, users.url("NARROW"), environment=variables)
        self.worker.wait_for_line(r"consuming worker\.narrowworker")

    def forge(self, queue, headers=None, *, user=None):
        """Put a step straight into a queue, as another worker can; return the code of a refusal, else 0."""
        properties = pika.BasicProperties(
            headers={**HEADERS, **(headers or {})},
            correlation_id=f"{'a' * 24}.1",
            reply_to="worker.ircnotify",
            user_id=user,
        )
        with closing(connected(self.users.url("DECLARING"))) as connection:
            try:
                body = json.dumps(STEP).encode()
                channel_of(connection).basic_publish("", queue, body, properties, mandatory=True)
            except pika.exceptions.ChannelClosedByBroker as error:
                return error.reply_code
        return 0

    def reasons(self, count):
        """Return why so many dead letters lie there, once they do."""
        found = []

        def is_there():
            method, properties, _ = self.channel.basic_get("re.dead", auto_ack=True)
            found.extend([properties.headers["x-reworker-reason"]] if method else [])
            return len(found) >= count

        wait_until(is_there, 60, f"{count} dead letters")
        return found

    def answers(self, count):
        """Return the statuses of all answers to forged steps, once there are so many."""
        queue, found = "worker.ircnotify", []
        wait_until(lambda: self.channel.queue_declare(queue, passive=True).method.message_count >= count)
        while (got := self.channel.basic_get(queue, auto_ack=True))[0]:
            found.append(json.loads(got[2])["status"])
        return found


@pytest.fixture
def stage(plugin, seeing, plugin_vhost, process, seen_channel):
    """Give the worker, the users and the channel of guest."""
    return Stage(Users(plugin, seeing, plugin_vhost), process, seen_channel)


def test_step_is_not_run_when_another_worker_forges_it(stage):
    core, other, own = (stage.users.names[one] for one in ("CORE", "DECLARING", "NARROW"))
    assert stage.forge("worker.narrowworker", user=core) == 406
    assert stage.forge("worker.narrowworker", user=own) == 406
    copy = {"x-tries": 1, "x-sender": core}
    forged = [{}, copy, {"x-routing-key": "notify.irc"}]
    for headers in forged:
        assert stage.forge("worker.narrowworker", headers) == 0
        assert stage.forge("worker.narrowworker", headers, user=other) == 0
    assert stage.forge("worker.narrowworker.retry.1s", copy, user=other) == 0
    reasons = stage.reasons(7)
    assert sum(f"not done: it is of the user '{other}'" in one for one in reasons) == 4
    assert sum("not done: it names no user" in one for one in reasons) == 3
    assert all(f"`accept_from` of worker.narrowworker has {core}" in one for one in reasons)
    assert stage.answers(7) == ["failed"] * 7
    assert stage.channel.queue_declare("re.output", passive=True).method.message_count == 0
    assert stage.worker.terminate() == 0


def test_steps_retries_and_cancels_of_the_core_are_carried_out(stage, process, tmp_path):
    db = f"sqlite:///{tmp_path / 'reworker.db'}"
    (tmp_path / "playbook.yaml").write_text(PLAYBOOK)
    url = f"{stage.users.url('CORE')}?stamp_user=true"
    core = process("-m", "reworker", "core", "--mq", url, "--db", db)
    core.wait_for_line("core core runs")
    added = reworker("playbook", "add", "playbook.yaml", "--db", db, "-o", "json", folder=tmp_path)
    with closing(connected(stage.users.url("CLIENT"))) as client, opened_service(db) as service:
        own_id = requested(client, json.loads(added.stdout)["id"])
        wait_until(lambda: "waiting" in str(service.log_lines(own_id)), 60, "the output of the last step")
        order = b'{"reason": "by somebody who says no name"}'
        stage.channel.basic_publish("re.control", "pause.narrow", order, mandatory=True)
        (reason,) = stage.reasons(1)
        assert "not done: it names no user" in reason
        service.cancel(own_id)
        wait_until(lambda: service.deployment(own_id).is_over, 60, "the cancel")
        events = service.events(own_id)
        assert [one.data["data"] for one in events if one.kind == "ReplyCompleted"] == [{"tries": 2}]
        assert events[-1].kind == "ReplyCancelled"
    assert (stage.worker.terminate(), core.terminate()) == (0, 0)
    assert "paused" not in stage.worker.output


def test_deployment_fails_with_the_reason_when_its_core_does_not_name_itself(stage, process, tmp_path):
    db = f"sqlite:///{tmp_path / 'reworker.db'}"
    (tmp_path / "playbook.yaml").write_text(PLAYBOOK)
    core = process("-m", "reworker", "core", "--mq", stage.users.url("CORE"), "--db", db)
    core.wait_for_line("core core runs")
    result = reworker("run", "playbook.yaml", "--db", db, folder=tmp_path)
    assert result.returncode == 1
    assert "it names no user" in result.stdout + result.stderr
    assert "set `stamp_user`" in result.stdout + result.stderr
    assert (stage.worker.terminate(), core.terminate()) == (0, 0)
