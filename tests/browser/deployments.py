"""Deployments to look at, made by a real core: running, failed, waiting, taken back, huge."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec

from reworker.bus.contract import Delivery, Verdict
from reworker.core import codec
from reworker.core.recorder import lines_of
from reworker.fsm import ranges
from reworker.fsm.deployment import Attempt, Deployment, Track
from reworker.fsm.events import Decision
from reworker.fsm.states import AttemptStatus
from reworker.ids import attempt_id
from reworker.storage.contract import AttemptRow, Changes, LogRow
from reworker.storage.log import SqlLog, log_path
from tests.browser.house import HOSTILE, House
from tests.component.core.kit import Worker

#: a release with a check, two sequences and a way back.
RELEASE = """\
group: shop
name: release the checkout
environment: production
execution:
- description: database
  hosts: [db1]
  steps:
  - shop:Backup: {password: hunter22, to: "amqp://ops:pa55word@vault/backups"}
  - shop:Migrate: {to: "41"}
    timeout: 10m
- description: web servers
  hosts: [web1, web2, web3, web4, web5, web6]
  strategy: {batch: 2}
  steps:
  - shop:OutOfRotation
  - shop:Update: {version: "2.9.1"}
    rollback: {shop:Downgrade: {}}
  - shop:Restart
  - shop:InRotation
"""


class Crew(Worker):
    """Workers for `shop` that take each step a while after it came, and end it a while later."""

    def __init__(self, home: House) -> None:
        super().__init__(home.world.broker, "shop")
        self._world = home.world
        self._came: list[Delivery] = []

    def _on_delivery(self, delivery: Delivery) -> None:
        delivery.settle(Verdict.ACK)
        self._came.append(delivery)

    def work(self, rounds: int) -> None:
        """Do what has come, so many times; of what comes then, only the beginning."""
        self._world.advance(0.04)
        for number in range(rounds + 1):
            came, self._came = self._came, []
            for place, delivery in enumerate(came):
                self._world.advance(0.3 + 0.7 * place + number % 3)
                self.reply({"status": "started"}, delivery.properties.correlation_id)
                self._world.advance(0.03)
            if number == rounds:
                break
            for place, delivery in enumerate(came):
                self._world.advance(1.1 + 2.3 * ((number + place) % 4))
                self.reply({"status": "completed"}, delivery.properties.correlation_id)
                self._world.advance(0.05)


def release(home: House, rounds: int = 10) -> str:
    """Start a release that has come to its third pair of web servers."""
    crew = Crew(home)
    own_id = home.start(RELEASE, actor="alice")
    crew.work(rounds)
    write_log(home, own_id, 60)
    return own_id


def failed(home: House) -> str:
    """Run a deployment in which two of eight hosts fail, which is one too many."""
    home.workers.step_s = 3
    home.workers.failing |= {"cache3 Warm", "cache6 Warm"}
    hosts = [f"cache{number}" for number in range(1, 9)]
    steps = ["noop:Drain", "noop:Warm", "noop:Serve"]
    text = _text("warm the caches", hosts, steps, strategy={"batch": 2, "max_failures": 1})
    own_id = home.start(text, actor="bob")
    home.run(5)
    home.workers.failing.clear()
    return own_id


def taken_back(home: House) -> str:
    """Run a deployment whose second host fails, and whose first is taken back."""
    home.workers.step_s = 2
    home.workers.failing.add("edge2 Check")
    steps = [{"noop:Update": {}, "rollback": {"noop:Downgrade": {}}}, "noop:Check"]
    own_id = home.start(_text("update the edge", ["edge1", "edge2", "edge3"], steps), actor="carol")
    home.run(5)
    home.workers.failing.clear()
    return own_id


def waiting(home: House) -> str:
    """Start a deployment that waits for an approval and for a decision."""
    home.workers.doubtful.add("switch1 Reload")
    approval = {"approval": {"text": "Open the shop to everybody?", "of": 2, "not_self": True}}
    first = {"description": "switches", "hosts": ["switch1"], "steps": ["noop:Reload", "noop:Check"]}
    second = {"description": "gate", "hosts": ["gate1"], "steps": [approval, "noop:Open"], "needs": []}
    whole = {"group": "net", "name": "open the gate", "locks": False, "execution": [first, second]}
    own_id = home.start(json.dumps(whole), actor="dave")
    home.run(60)
    home.workers.doubtful.clear()
    return own_id


def decided(home: House, own_id: str) -> None:
    """Answer the decision of `waiting`."""
    home.service.decide(own_id, 0, Decision.COMPLETE, actor="erin", reason="the switch shows the new table")
    home.world.run()


def hostile(home: House) -> str:
    """Start a deployment whose every name and text tries to be more than text."""
    name = "".join(one for one in HOSTILE if one.isprintable())
    steps = [{"noop:Do": {"note": HOSTILE}}, {"approval": name}]
    whole = {
        "group": name,
        "name": name,
        "locks": False,
        "execution": [{"description": name, "hosts": ["web1"], "steps": steps}],
    }
    own_id = home.start(json.dumps(whole, ensure_ascii=False), actor=HOSTILE)
    add_lines(home, own_id, [HOSTILE, "\x1b[31mred\x1b[0m \x1b]0;title\x07", "half\rover", "</code></p>"])
    return own_id


def huge(home: House, host_count: int = 1000, step_count: int = 20, done_count: int = 620) -> str:
    """Store a deployment of many hosts, as a core leaves it: some are done, some failed, some are at work.

    It is written as rows; to have a core do it would take a minute.
    """
    hosts = [f"node{number:04}" for number in range(1, host_count + 1)]
    steps = [{f"noop:Step{number:02}": {}, "idempotent": True} for number in range(step_count)]
    text = _text("patch the fleet", hosts, steps, strategy={"batch": 50, "max_failures": 30})
    home.workers.silent |= {f"{host} Step00" for host in hosts}
    own_id = home.start(text, actor="alice")
    home.workers.silent.clear()
    with home.world.storage.begin() as unit:
        row = unit.deployments({own_id})[own_id]
        attempts = list(_history(own_id, row.created_at, hosts, step_count, done_count))
        state = _midway(codec.decode_snapshot(row.snapshot), attempts)
        saved = msgspec.structs.replace(row, snapshot=codec.encode_snapshot(state), version=row.version + 1)
        unit.save(Changes(saved=[saved], attempts=attempts))
    return own_id


def _history(
    own_id: str, start: datetime, hosts: Sequence[str], step_count: int, done_count: int
) -> Iterator[AttemptRow]:
    """Yield the attempts of the hosts that are done, of the few that failed, and of fifty at work."""
    number = 0
    for place, host in enumerate(hosts[: done_count + 50]):
        failing = 7 if place < done_count and place % 97 == 5 else step_count
        open_step = place % step_count if place >= done_count else step_count
        for offset in range(min(failing, open_step, step_count - 1) + 1):
            number += 1
            status = {failing: "failed", open_step: "started"}.get(offset, "completed")
            yield _attempt(own_id, number, start, place * step_count + offset, host, status)


def _attempt(own_id: str, number: int, start: datetime, index: int, host: str, status: str) -> AttemptRow:
    at = start + timedelta(seconds=0.05 * number)
    return AttemptRow(
        id=attempt_id(own_id, number),
        deployment_id=own_id,
        number=number,
        step_index=index,
        step="noop:Step",
        host=host,
        status=status,
        tries=1,
        worker="noopworker",
        message="no disk left" if status == "failed" else "",
        percent=40.0 if status == "started" else None,
        data=b"null",
        created_at=at,
        sent_at=at + timedelta(seconds=0.02),
        started_at=at + timedelta(seconds=0.2 + number % 7 / 10),
        ended_at=None if status == "started" else at + timedelta(seconds=1 + number % 5),
    )


def _midway(state: Deployment, attempts: Sequence[AttemptRow]) -> Deployment:
    """Return the snapshot that belongs to these attempts."""
    by_status: dict[str, list[AttemptRow]] = {}
    for one in attempts:
        by_status.setdefault(one.status, []).append(one)
    at_work = by_status.get("started", [])
    return replace(
        state,
        completed=ranges.of(one.step_index for one in by_status["completed"]),
        completed_count=len(by_status["completed"]),
        failed_count=len(by_status.get("failed", [])),
        attempt_count=len(attempts),
        attempts=tuple(
            Attempt(number=one.number, step_index=one.step_index, status=AttemptStatus.STARTED)
            for one in at_work
        ),
        tracks=tuple(Track(index=one.step_index, tries=1) for one in at_work),
    )


def write_log(home: House, own_id: str, count: int) -> None:
    """Write lines as workers do."""
    words = ("fetched", "unpacked", "checked the sum of", "linked", "restarted")
    add_lines(home, own_id, (f"{words[number % 5]} part {number} of {count}" for number in range(count)))


def add_lines(home: House, own_id: str, texts: Iterable[str], *, chunk_count: int = 1000) -> None:
    """Write lines of output, from the last number on."""
    logs = SqlLog(log_path(home.world.path))
    last = logs.last_lines(own_id, limit=1)
    first_no = lines_of(last[-1])[-1].no + 1 if last else 1
    at = datetime.now(UTC)
    rows = [[1 + place % 3, at, text] for place, text in enumerate(texts)]
    for start in range(0, len(rows), chunk_count):
        some = rows[start : start + chunk_count]
        body = json.dumps(some, default=datetime.isoformat).encode()
        logs.add([LogRow(own_id, first_no + start, len(some), body)])
    logs.close()


def _text(name: str, hosts: Sequence[str], steps: Sequence[object], **more: object) -> str:
    sequence = {"hosts": list(hosts), "steps": list(steps), **more}
    return json.dumps({"group": "fleet", "name": name, "locks": False, "execution": [sequence]})
