"""A house to look at: a database that a real core has worked on, and the dashboard before it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from reworker import __version__
from reworker.bus.contract import Delivery, Verdict
from reworker.clock import SystemClock
from reworker.config import mq_settings
from reworker.core.access import Access
from reworker.core.audit import AuditEntry, Outcome, audit_row
from reworker.core.batch import Batch, Request
from reworker.core.memory import Memory
from reworker.core.principal import Scope
from reworker.core.submission import Origin, new_playbook, new_row, plan_of
from reworker.fsm.events import CancelRequested, Submitted
from reworker.host.health import Report
from reworker.ids import new_id
from reworker.storage.contract import InstanceRow
from reworker.web.app import create_app
from reworker.web.context import Site as WebSite
from reworker.web.desk import BusDesk
from reworker.web.server import WebServer
from reworker.web.settings import WebSettings
from tests.component.core.kit import FakeClock, World, running
from tests.component.core.site import Site

#: what nothing stored may do to a page: end a tag, run, or turn what follows.
HOSTILE = "<script>evil()</script>\"'><img src=x onerror=evil()> \u202eevil\u202c {{7*7}}"

ROLLOUT = """\
group: web
name: roll out the shop
environment: {environment}
params:
  version:
    type: string
    description: What to roll out, as tagged in git.
  color:
    type: string
    enum: [blue, green]
    default: green
    description: Which half takes it.
  percent: {{type: integer, minimum: 1, maximum: 100, default: 25, description: Traffic in the first hour.}}
  drain: {{type: boolean, default: true, description: Take hosts out of the balancer first.}}
  notify: {{type: array, items: {{type: string}}, default: [ops], description: Who hears of it.}}
execution:
- description: application servers
  hosts: [{hosts}]
  strategy: {{batch: 2}}
  steps:
  - noop:OutOfRotation
  - noop:Update: {{dynamic: [version]}}
    rollback: {{noop:Downgrade: {{}}}}
  - noop:InRotation
"""


class NowClock(FakeClock):
    """Time that passes when the test says so, beginning a while ago."""

    def __init__(self, start: datetime) -> None:
        super().__init__()
        self._start = start

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.elapsed_s + self.jumped_s)


class Workers(Site):
    """Workers whose steps take `step_s` each; those that are told to be silent begin, and do not end."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.silent: set[str] = set()
        self.step_s = 0.0
        self._clock = world.clock

    def _on_delivery(self, delivery: Delivery) -> None:
        parameters = json.loads(delivery.body)["parameters"]
        name = f"{parameters.get('hosts', '-')[0]} {parameters['subcommand']}"
        self._clock.advance(self.step_s)
        if name not in self.silent:
            super()._on_delivery(delivery)
            return
        self.reply({"status": "started"}, delivery.properties.correlation_id)
        delivery.settle(Verdict.ACK)


class House:
    """The world of a core, workers for `noop`, and what people see of it.

    `run` lets the core go on until nothing moves; `token` may do everything.
    """

    def __init__(self, world: World, access: Access, url: str) -> None:
        self.world, self.access, self.url = world, access, url
        self.service = world.core.service
        self.workers = Workers(world)
        self.token = access.create_token("alice", [Scope.ADMIN])[1]

    def start(
        self, text: str, actor: str = "alice", *, playbook_id: str | None = None, **dynamic: object
    ) -> str:
        draft = self.service.library.draft(text, dynamic, "playbook")
        own_id = self.service.start(draft, Origin(actor=actor, playbook_id=playbook_id))
        self.world.run()
        return own_id

    def run(self, seconds: float = 0.0) -> None:
        self.world.advance(seconds)


@contextmanager
def house(
    folder: Path,
    *,
    started_s: float = 0.0,
    has_auth: bool = False,
    is_tls: bool = False,
    mq: str = "",
) -> Iterator[House]:
    """Give a house with nothing in it.

    Args:
        folder: for its files.
        started_s: how long before now its time begins; it passes when the test says so.
        has_auth: whether people have to log in.
        is_tls: the outside speaks HTTPS, with a server before us.
        mq: URL of a broker, for the page about workers; empty is none.
    """
    world = World(folder)
    world.clock = NowClock(datetime.now(UTC) - timedelta(seconds=started_s))
    settings = WebSettings(port=0, has_auth=has_auth, is_tls=is_tls)
    with running(world), ExitStack() as stack:
        world.run()
        access = stack.enter_context(closing(Access(world.storage, world.clock)))
        desk = stack.enter_context(_desk(world, access, mq)) if mq else None
        site = WebSite(world.core.service, access, world.clock, settings, desk, lambda: Report("web"))
        server = stack.enter_context(WebServer(create_app(site), settings))
        yield House(world, access, server.url)


def _desk(world: World, access: Access, mq: str) -> BusDesk:
    return BusDesk(mq_settings(mq), world.storage.reader, SystemClock(), access.note)


def playbook_text(name: str, *steps: object, hosts: tuple[str, ...] = ("web1",), **more: object) -> str:
    """Return a playbook of one sequence."""
    sequence = {"hosts": list(hosts), "steps": list(steps) or ["noop:Do"]}
    whole = {"group": "web", "name": name, "locks": False, "execution": [sequence], **more}
    return json.dumps(whole, ensure_ascii=False)


def fill(home: House, count: int) -> None:
    """Put so many of everything into a house: deployments, playbooks, tokens, words in the audit."""
    clock, storage = home.world.clock, home.world.storage
    first = clock.now() - timedelta(seconds=count * 90)
    plan = plan_of(playbook_text("nightly", hosts=("web1", "web2")), {}, "playbook")
    stored = new_playbook(new_id(first), 1, playbook_text("playbook"), "alice", first)
    with storage.begin() as unit:
        batch = Batch(unit, Memory())
        for number in range(count):
            at = first + timedelta(seconds=number * 90)
            row = new_row(new_id(at), plan, Origin(actor=f"person{number % 7}"), at)
            row = msgspec.structs.replace(row, name=f"nightly {number}")
            batch.create(row, plan, Submitted(at=at, actor=row.actor, unattended=False))
            if number % 3:
                batch.apply(_cancelled(row.id, at, number))
            name = f"playbook {number}"
            unit.add_playbook(msgspec.structs.replace(stored, id=new_id(at), name=name, created_at=at))
            unit.add_audit(audit_row(_word(row.id, number), at))
        batch.save()
    for number in range(min(count, 60)):
        home.access.create_token(f"robot {number}", [Scope.READ, Scope.RUN])


def _cancelled(own_id: str, at: datetime, number: int) -> Request:
    event = CancelRequested(at=at + timedelta(seconds=30), actor="bob", reason=f"not needed {number}")
    return Request(own_id, event, actor="bob")


def _word(target: str, number: int) -> AuditEntry:
    outcome = Outcome.DENIED if number % 10 == 9 else Outcome.DONE
    return AuditEntry(
        "deployment.start", target, outcome, "by a schedule", f"person{number % 7}", "", "127.0.0.1"
    )


def furnish(home: House) -> dict[str, str]:
    """Put one of each kind into a house, as on an ordinary day; return the ids by name."""
    hosts = ", ".join(f"app{number:02}" for number in range(1, 7))
    text = ROLLOUT.format(environment="production", hosts=hosts)
    row = home.service.library.store(text, actor="alice")
    home.service.library.store(text.replace("batch: 2", "batch: 3"), actor="bob", playbook_id=row.id)
    home.service.library.store(playbook_text("restart the search", hosts=("find1", "find2")), actor="carol")
    home.service.library.store(playbook_text("rotate certificates", hosts=("web1",)), actor="alice")
    ids = {"playbook": row.id, **_past(home, text, row.id)}
    ids["decision"] = _doubtful(home)
    ids["approval"] = home.start(
        playbook_text("open the new shop", {"approval": "Open the shop to everybody?"}, hosts=("edge1",)),
        actor="carol",
    )
    ids["unroutable"] = home.start(playbook_text("flush the caches", "varnish:Ban"), actor="bob")
    ids["running"] = _running(home, text, row.id)
    with home.world.storage.begin() as unit:
        now = home.world.clock.now()
        unit.beat(InstanceRow("core-1", "ops1", 4711, __version__, now - timedelta(hours=30), now))
    return ids


def _past(home: House, text: str, playbook_id: str) -> dict[str, str]:
    """Run what took its time some hours ago, and failed once."""
    home.workers.step_s = 35
    for number in range(3):
        home.start(text, playbook_id=playbook_id, version=f"2.{number}")
        home.run(2000)
    home.workers.failing.add("web2 Check")
    failed = home.start(playbook_text("check the billing", "noop:Check", hosts=("web1", "web2")), actor="bob")
    home.run(1500)
    return {"failed": failed}


def _doubtful(home: House) -> str:
    home.workers.doubtful.add("switch1 Reload")
    own_id = home.start(playbook_text("reload the switches", "noop:Reload", hosts=("switch1",)), actor="dave")
    home.run(300)
    return own_id


def _running(home: House, text: str, playbook_id: str) -> str:
    """Start a roll-out whose third pair of hosts takes its time."""
    home.workers.silent.update({"app05 Update", "app06 Update"})
    own_id = home.start(text, playbook_id=playbook_id, version="2.3")
    home.run(40)
    return own_id
