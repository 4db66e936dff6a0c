"""From a playbook to a mailbox: core, workers and servers as operators run them, on the embedded broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.integration.cli_support import reworker
from tests.support.http_server import HttpServer
from tests.support.irc_server import IrcServer
from tests.support.processes import Process
from tests.support.smtp_server import SmtpServer
from tests.support.waiting import wait_until

PLAYBOOK = """
group: test
name: tell everybody
execution:
- description: first
  hosts: [web1]
  notify:
    started: {email: [ann@x.org]}
    completed: {email: [ann@x.org], irc: ["#releases"]}
  steps:
  - noop:Do:
      notify:
        started: {webhook: [inventory]}
        completed: {email: [bob@x.org], irc: ["#releases"]}
- description: second
  hosts: [web2]
  notify:
    failed: {email: [ann@x.org], webhook: [inventory]}
  steps:
  - megafrobber:Frob:
      fail_on: [web2]
      notify:
        failed: {email: [ann@x.org]}
"""
CORE = {"phase_notification": {"topic": "notify.email", "target": ["boss@x.org"], "url": "https://x.org/%s"}}


class Listeners:
    """The servers that people look at."""

    def __init__(self, smtp: SmtpServer, irc: IrcServer, web: HttpServer) -> None:
        self.smtp, self.irc, self.web = smtp, irc, web

    def settings(self) -> dict[str, dict[str, object]]:
        """Return the file of each worker."""
        email = {"host": "localhost", "port": self.smtp.port, "encryption": "none", "from": "bot@x.org"}
        irc = {"host": "localhost", "port": self.irc.port, "tls": False}
        targets = {"inventory": {"url": f"{self.web.url}/hook", "secret": "open sesame"}}
        return {
            "emailnotify": {**email, "retry_s": [1]},
            "ircnotify": irc,
            "webhooknotify": {"targets": targets, "retry_s": [1]},
            "noop": {},
            "megafrobber": {},
        }

    def subjects(self, address: str) -> list[str]:
        """Return the subjects of the mails to an address, sorted."""
        mails = [one for one in self.smtp.mails if address in one.recipients]
        return sorted(str(one.message["Subject"]).removeprefix("[reworker] ") for one in mails)


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    with SmtpServer() as smtp, IrcServer() as irc, HttpServer() as web:
        yield Listeners(smtp, irc, web)


def start_all(process: Callable[..., Process], url: str, folder: Path, listeners: Listeners) -> None:
    (folder / "core.yaml").write_text(yaml.safe_dump(CORE), encoding="utf-8")
    started = [process("-m", "reworker", "core", "--mq", url, "-c", "core.yaml")]
    for name, settings in listeners.settings().items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        started.append(process("-m", "reworker", "worker", name, url, "-w", f"{name}.yaml"))
    for one, line in zip(started, ["core core runs", *["consuming worker"] * 5], strict=True):
        one.wait_for_line(line)


def test_phases_of_a_deployment_reach_people_by_every_transport(
    process: Callable[..., Process], broker_url: str, tmp_path: Path, listeners: Listeners
) -> None:
    listeners.smtp.refusals["bob@x.org"] = "451 greylisted"
    start_all(process, broker_url, tmp_path, listeners)
    (tmp_path / "playbook.yaml").write_text(PLAYBOOK, encoding="utf-8")
    ran = reworker("run", "playbook.yaml", "-o", "json", folder=tmp_path)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    wait_until(lambda: len(listeners.subjects("ann@x.org")) == 5, 60)
    assert listeners.subjects("ann@x.org") == [
        "Completed sequence: first",
        "Failed sequence: second",
        "Failed step: megafrobber:Frob on web2",
        "Frobbing failed",
        "Started sequence: first",
    ]
    wait_until(lambda: len(listeners.subjects("boss@x.org")) == 2, 60)
    assert {subject.split()[-1] for subject in listeners.subjects("boss@x.org")} == {"started", "failed"}
    wait_until(lambda: len(listeners.irc.said) == 2, 60)
    assert sorted(said.text.partition(" (")[0] for said in listeners.irc.said) == [
        "Completed sequence: first",
        "Completed step: noop:Do on web1",
    ]
    wait_until(lambda: len(listeners.web.requests) == 2, 60)
    assert all(one.headers["x-reworker-signature"] for one in listeners.web.requests)
    assert listeners.subjects("bob@x.org") == []
    listeners.smtp.refusals.clear()
    wait_until(lambda: listeners.subjects("bob@x.org") == ["Completed step: noop:Do on web1"], 60)
