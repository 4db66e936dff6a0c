"""The workers of docs/examples, compiled and run as their page says, with a real core and playbooks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reworker.broker.server import BrokerThread
from reworker.fsm.states import DeploymentStatus
from reworker.storage.rows import AttemptRow
from tests.conftest import fresh_vhost, require_server
from tests.docs.pages import ROOT, blocks_of
from tests.integration.core_support import CoreProcess
from tests.support import rabbitmq as rabbitmq_server
from tests.support.foreign_workers import (
    EXAMPLES,
    LEVEL_1,
    LEVEL_2,
    WORKERS,
    in_go_folder,
    kept_alive,
    needs,
    program,
)
from tests.support.kit_runs import QUEUE, Run, run_kits
from tests.support.processes import Process
from tests.support.rabbitmq import RabbitMQNode
from tests.support.waiting import wait_until

PAGE = ROOT / "docs" / "workers-in-other-languages.md"
#: what of a run of the kit is different each time: (pattern, what stands for it).
CHANGING = (
    (re.compile(r"\b\d+\.\d s\b"), "N s"),
    (re.compile(r"\b\d+( in N s| of \d+ replies| lines\b)|(all|in) \d+ (replies|steps)"), "N"),
    (re.compile(r"(x-worker +).*"), r"\1WORKER"),
)
#: lines and characters that an example may have: as many as one can read at once.
LINE_COUNT, LINE_WIDTH = 80, 110
#: seconds for anything here, on a busy day.
PATIENCE_S = 60.0


def there(names: Iterable[str] = tuple(WORKERS)) -> list[str]:
    """Return those of these workers that can be run here."""
    return [one for one in names if all(needs(one).values())]


def require_all() -> None:
    """Skip for what is missing, by name, when the others have been tried; fail in CI."""
    for one in WORKERS:
        for name, is_there in needs(one).items():
            require_server(name, is_there)


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder for what is compiled, once for all tests."""
    return tmp_path_factory.mktemp("foreign")


class Site:
    """A core on a broker, and workers in any language.

    Args:
        start: the fixture ``process``.
        url: of the broker.
        folder: for the database.
        kept: for what is compiled.
    """

    def __init__(self, start: Callable[..., Process], url: str, folder: Path, kept: Path) -> None:
        self._start, self._url, self._kept = start, url, kept
        #: the workers that take part.
        self.names = there()
        self.core = CoreProcess(start, url, folder)
        self.core.start()
        self.core.process.wait_for_line(" runs on ", PATIENCE_S)

    def start_workers(self, *, kept_alive_names: Iterable[str] = ()) -> dict[str, Process]:
        """Start each worker, for the command frob<name>, and wait until they work.

        Args:
            kept_alive_names: of those that are started again when they fail.
        """
        found = {one: program(one, self._url, f"worker.frob{one}", self._kept) for one in self.names}
        found |= {one: kept_alive(found[one]) for one in kept_alive_names}
        workers = {
            name: self._start(command=one.command, environment=dict(one.environment))
            for name, one in found.items()
        }
        for worker in workers.values():
            worker.wait_for_line("consuming", PATIENCE_S)
        return workers

    def submit_all(self, *parameters: dict[str, Any], **options: Any) -> dict[str, str]:
        """Start a deployment of such steps for each worker; return their ids by its name.

        Each has a host of its own: deployments of one host would wait for each other.
        """
        return {
            one: self._submit(one, [{f"frob{one}:add": each, **options} for each in parameters])
            for one in self.names
        }

    def _submit(self, host: str, steps: list[dict[str, Any]]) -> str:
        playbook = {"group": "g", "name": "n", "execution": [{"hosts": [host], "steps": steps}]}
        return self.core.service.submit(json.dumps(playbook))

    def attempts(self, own_id: str) -> list[AttemptRow]:
        """Return the attempts of a deployment."""
        return list(self.core.reader.attempts(own_id))

    def wait_for_start(self, own_id: str) -> None:
        """Wait until its step was begun."""
        wait_until(lambda: "Started" in self.replies(own_id), PATIENCE_S, f"{own_id} to be started")

    def rest(self, own_id: str) -> str:
        """Wait until nothing happens any more before a person acts; return how the deployment stands."""

        def status() -> DeploymentStatus:
            return self.core.service.deployment(own_id).state.status

        wait_until(lambda: status().is_terminal or status() is DeploymentStatus.WAITING, PATIENCE_S, own_id)
        return str(status())

    def replies(self, own_id: str) -> list[str]:
        """Return the replies that counted, in order."""
        kinds = [one.kind for one in self.core.reader.events(own_id)]
        return [one.removeprefix("Reply") for one in kinds if one.startswith("Reply")]


@pytest.fixture
def site(process: Callable[..., Process], any_broker_url: str, tmp_path: Path, kept: Path) -> Iterator[Site]:
    made = Site(process, any_broker_url, tmp_path, kept)
    yield made
    made.core.close()


def test_workers_complete_and_fail_steps_of_playbooks(site: Site) -> None:
    workers = site.start_workers()
    good = site.submit_all({"a": 1, "b": 2}, {"a": 0.5, "b": 3})
    bad = site.submit_all({"a": 999, "b": 2})
    for one in workers:
        assert (one, site.rest(good[one]), site.rest(bad[one])) == (one, "completed", "failed")
        assert [json.loads(each.data) for each in site.attempts(good[one])] == [{"sum": 3}, {"sum": 3.5}]
        assert site.replies(good[one]) == ["Started", "Completed"] * 2
        assert [each.message for each in site.attempts(bad[one])] == ["1001 is over 1000"]
        assert workers[one].terminate(PATIENCE_S) == 0, workers[one].output
        lines = partial(site.core.service.log_lines, good[one])
        wait_until(lambda lines=lines: len(lines()) == 2, PATIENCE_S, "the lines of output")
        assert [line.text for line in lines()] == ["adding 1 and 2", "adding 0.5 and 3"]
    require_all()


@pytest.mark.fault
@pytest.mark.parametrize(
    "any_broker_url", [pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)], indirect=True
)
def test_killed_workers_repeat_what_may_be_and_ask_about_the_rest(site: Site) -> None:
    site.names = there(LEVEL_2)
    workers = site.start_workers()
    again = site.submit_all({"a": 1, "b": 2, "seconds": 3}, idempotent=True)
    workers = _killed(site, workers, again)
    assert {one: site.rest(own_id) for one, own_id in again.items()} == dict.fromkeys(again, "completed")
    assert {site.replies(own_id).count("Completed") for own_id in again.values()} == {1}
    once = site.submit_all({"a": 1, "b": 2, "seconds": 300})
    _killed(site, workers, once)
    assert {one: site.rest(own_id) for one, own_id in once.items()} == dict.fromkeys(once, "waiting")
    found = {one: [each.status for each in site.attempts(own_id)] for one, own_id in once.items()}
    assert found == {one: ["unknown"] for one in once}
    require_all()


def _killed(site: Site, workers: dict[str, Process], ids: dict[str, str]) -> dict[str, Process]:
    """Kill all workers once each has begun its step; return new ones."""
    for own_id in ids.values():
        site.wait_for_start(own_id)
    for worker in workers.values():
        worker.kill9()
    return site.start_workers()


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.rabbitmq
def test_workers_finish_a_step_during_which_their_broker_restarts_or_are_started_again(
    process: Callable[..., Process], tmp_path: Path, kept: Path
) -> None:
    require_server("RabbitMQ", rabbitmq_server.is_installed())
    level_1 = there(LEVEL_1)
    with RabbitMQNode() as node:
        site = Site(process, node.url(), tmp_path, kept)
        site.start_workers(kept_alive_names=level_1)
        ids = site.submit_all({"a": 1, "b": 2, "seconds": 2})
        for own_id in ids.values():
            site.wait_for_start(own_id)
        node.restart()
        ends = {one: site.rest(own_id) for one, own_id in ids.items()}
        assert ends == {one: "failed" if one in level_1 else "completed" for one in ids}
        replies = {one: site.replies(own_id) for one, own_id in ids.items()}
        assert replies == {one: ["Started", ends[one].capitalize()] for one in ids}
        assert {site.attempts(ids[one])[0].message for one in level_1} <= {"its worker was lost"}
        more = site.submit_all({"a": 2, "b": 2})
        assert {one: site.rest(own_id) for one, own_id in more.items()} == dict.fromkeys(more, "completed")
        site.core.close()
    require_all()


@pytest.fixture(scope="module")
def kit_runs(
    broker_session: BrokerThread, tmp_path_factory: pytest.TempPathFactory, kept: Path
) -> dict[str, Run]:
    """Give a run of the kit on each worker that can be run here, done at the same time."""
    urls = {one: broker_session.url(fresh_vhost()) for one in there()}
    programs = {one: (url, program(one, url, QUEUE, kept)) for one, url in urls.items()}
    return run_kits(programs, tmp_path_factory.mktemp("kits"), lambda _, pid: ("--stop-pid", str(pid)))


@pytest.mark.parametrize("worker", WORKERS)
def test_kit_says_of_the_worker_what_its_page_says(kit_runs: dict[str, Run], worker: str) -> None:
    if worker not in kit_runs:
        require_all()
    run = kit_runs[worker]
    assert run.exit_code == 0, run.output
    shown = {one.word: one.text for one in blocks_of(PAGE) if one.verb == "kit says of"}
    assert plain(run.output) == plain(shown[worker]), run.output


def plain(text: str) -> list[str]:
    """Return lines without what is different each time."""
    for pattern, word in CHANGING:
        text = pattern.sub(word, text)
    return [" ".join(line.split()) for line in text.strip().splitlines()]


FILES = sorted(path for path in EXAMPLES.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_example_is_short_and_on_its_page(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) < LINE_COUNT
    assert [line for line in lines if len(line) > LINE_WIDTH] == []
    assert f"{{literalinclude}} examples/{path.relative_to(EXAMPLES)}\n" in PAGE.read_text()


def test_examples_in_go_are_formatted_and_vetted() -> None:
    if "go1" not in there():
        require_all()
    assert in_go_folder("gofmt", "-l", ".").stdout == ""
    for folder in ("./level1", "./level2"):
        found = in_go_folder("go", "vet", folder)
        assert found.returncode == 0, found.stderr
