"""The file of a host: what is in it, and every kind of error with its line."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from reworker.errors import ConfigError
from reworker.host.crew import Entry, crews_of
from reworker.host.host import WorkerHost
from reworker.host.listing import load_host_file
from reworker.host.plugins import entry_point_of, load_worker
from reworker.host.supervisor import names_of
from reworker.testing.scripted import ScriptedWorker

MQ = {"server": "nowhere"}
CONF = Path(__file__).parents[3] / "conf"


def written(folder: Path, text: str, name: str = "host.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_example_shows_every_key_and_is_accepted() -> None:
    text = (CONF / "host.yaml").read_text()
    assert all(f"{key}:" in text for key in ("mq", "ini", "health", "workers", "worker", "config"))
    found = load_host_file(str(CONF / "host.yaml"))
    assert found.mq == str(CONF / "mq.yaml")
    crews = crews_of(found.entries, MQ, print)
    assert set(crews) == {"noopworker", "sleepworker", "eu.noop-eu"}
    assert crews["sleepworker"].group().count == 2


def test_files_are_beside_the_list_and_entries_know_their_lines(tmp_path: Path) -> None:
    written(tmp_path, "[sleep]\ninstances = 9\n", "w.ini")
    written(tmp_path, "prefetch: 3\n", "sleep.yaml")
    workers = "- sleep\n- worker: sleep\n  config: sleep.yaml\n  queue: x\n"
    found = load_host_file(written(tmp_path, f"mq: amqp://h/\nini: w.ini\nhealth: 0\nworkers:\n{workers}"))
    assert (found.mq, found.ini, found.health) == ("amqp://h/", str(tmp_path / "w.ini"), "0")
    plain, other = found.entries
    assert (plain.worker, plain.config_file, plain.place) == ("sleep", None, f"{tmp_path}/host.yaml:5")
    assert other.config_file == str(tmp_path / "sleep.yaml")
    origin, properties = other.given.entry
    assert (dict(properties), callable(origin) and origin("queue")) == (
        {"queue": "x"},
        f"{tmp_path}/host.yaml:8",
    )
    crews = crews_of(found.entries, MQ, print)
    settings = {name: crew.check() for name, crew in crews.items()}
    assert {name: one.instances for name, one in settings.items()} == {"sleepworker": 9, "x": 9}
    assert settings["x"].prefetch == 3


ERRORS = [
    ("", ":1: workers: expected a list of workers, such as [sleep, noop]"),
    ("workers: []", ":1: workers: expected a list of workers"),
    ("mq: amqp://x\nworkers: {sleep: 1}", ":2: workers: expected a list of workers"),
    ("workres: []", ":1: workres: unknown key; did you mean 'workers'?"),
    ("colour: red", ":1: colour: unknown key; there are mq, ini, health, workers"),
    ("workers:\n- 7", ":2: expected the name of a worker, or a mapping with `worker`, found 7"),
    ("workers:\n- {config: x}", ":2: worker: is missing"),
    ("workers:\n- worker: [a]", ":2: worker: expected a text, found ['a']"),
    ("workers:\n- worker: noop\n  instanses: 2", ":3: instanses: unknown key; did you mean 'instances'?"),
    ("workers:\n- worker: noop\n  config: gone.yaml", ":3: config: there is no file"),
    ("ini: gone.ini\nworkers: [noop]", ":1: ini: there is no file"),
    ("mq: gone.json\nworkers: [noop]", ":1: mq: there is no file"),
    ("workers: [noop]\nworkers: [noop]", ":2: workers: stands in line 1 too"),
    ("workers:\n- worker: noop\n  paused: yes\n  paused: no", ":4: paused: stands in line 3 too"),
    ("health: x\nworkers: [noop]", ":1: health: expected PORT or HOST:PORT, or nothing, found 'x'"),
    ("workers: [", ": is neither JSON nor YAML: "),
    ("- noop", ": expected a mapping of settings, found a list"),
]


@pytest.mark.parametrize(("text", "error"), ERRORS)
def test_list_is_refused_with_its_line_when_wrong(text: str, error: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_host_file(path)
    assert str(caught.value).startswith(f"{path}{error}")


WRONG_SETTINGS = [
    ("- worker: nosuch", "host.yaml:2: nosuch: no such worker"),
    ("- worker: os:system", "host.yaml:2: os:system: is no subclass"),
    ("- worker: noop\n  drain_s: soon", "host.yaml:3: drain_s: expected a number above 0, found 'soon'"),
    ("- worker: noop\n  config: w.yaml", "w.yaml:2: ack: expected one of late, early, found 'soon'"),
    ("- worker: exec", "commands"),
]


@pytest.mark.parametrize(("entry", "error"), WRONG_SETTINGS)
def test_settings_of_all_are_checked_when_a_host_is_made(entry: str, error: str, tmp_path: Path) -> None:
    written(tmp_path, "instances: 2\nack: soon\n", "w.yaml")
    found = load_host_file(written(tmp_path, f"workers:\n{entry}"))
    with pytest.raises(ConfigError) as caught:
        WorkerHost(found.entries, MQ)
    assert error in str(caught.value)


@pytest.mark.parametrize(
    "mq", [{"server": "h", "prot": 1}, {"server": "h", "ssl": {"ca": "/no/such/file"}}, "gone.json"]
)
def test_message_bus_is_checked_too(mq: dict[str, object] | str) -> None:
    with pytest.raises(ConfigError):
        WorkerHost(["noop"], mq)


def test_host_is_refused_when_it_has_no_workers() -> None:
    with pytest.raises(ConfigError, match="has nothing to do"):
        WorkerHost([], MQ)


def test_host_takes_objects_classes_and_names_and_tells_namesakes_apart() -> None:
    worker = ScriptedWorker(MQ, queue="task_1", instances=3, processes=2)
    host = WorkerHost([worker, ScriptedWorker, ScriptedWorker, "noop", Entry("noop")], MQ)
    names = ["task_1", "scriptedworker", "scriptedworker-2", "noopworker", "noopworker-2"]
    assert list(host.groups) == names
    assert [one.count for one in host.groups.values()] == [2, 1, 1, 1, 1]
    assert names_of("task_1", 2) == ["task_1.1", "task_1.2"]
    assert names_of("noop", 1) == ["noop"]


class Sick(ScriptedWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no disk")


def test_constructor_that_raises_is_named_with_its_place(tmp_path: Path) -> None:
    entry = Entry(Sick, place="host.yaml:3")
    text = r"host\.yaml:3: a worker cannot be made: RuntimeError: no disk \(.*test_listing\.py:\d+\)"
    with pytest.raises(ConfigError, match=text):
        WorkerHost([entry], MQ)


class Leaving(ScriptedWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise SystemExit("no licence")


class Bare(ScriptedWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Forget the constructor of the library."""


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (Leaving, r"a worker cannot be made: SystemExit: no licence \(.*test_listing\.py:\d+\)"),
        (Bare, r"a worker cannot be made: Bare\.__init__ calls no super\(\)\.__init__\(\.\.\.\)"),
    ],
)
def test_constructor_is_named_when_it_wants_to_exit_or_forgets_ours(
    kind: type[ScriptedWorker], error: str
) -> None:
    with pytest.raises(ConfigError, match=rf"host\.yaml:3: {error}"):
        WorkerHost([Entry(kind, place="host.yaml:3")], MQ)


def test_section_that_nearly_fits_gets_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ini = written(tmp_path, "[DEFAULT]\n[nooop]\n[noop]\n[other]\n[Frob]\n", "w.ini")
    WorkerHost(["noop", ScriptedWorker(MQ, queue="frob")], MQ, ini=ini)
    warned = [one.message for one in caplog.records if one.name == "reworker.host"]
    assert warned == [f"{ini}: the section [nooop] is for no worker here; did you mean 'noop'?"]


def test_entry_point_is_found_by_its_name_unless_packages_disagree() -> None:
    ours = EntryPoint("frob", "a.b:C", "reworker.workers")
    same = EntryPoint("frob", "a.b:C", "reworker.workers")
    other = EntryPoint("frob", "x.y", "reworker.workers")
    assert entry_point_of("frob", [ours, same]) == ours
    assert entry_point_of("fro", [ours]) is None
    with pytest.raises(ConfigError, match=r"several packages name it so: a\.b:C, x\.y; use module:Class"):
        entry_point_of("frob", [ours, other])


def test_worker_is_loaded_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "frobs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: frobs\nVersion: 1.0\n")
    points = "played = reworker.testing.scripted:ScriptedWorker\nwhole = replugin.noopworker\n"
    (info / "entry_points.txt").write_text(f"[reworker.workers]\n{points}")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_worker("played") is ScriptedWorker
    assert load_worker("whole").__name__ == "NoopWorker"
