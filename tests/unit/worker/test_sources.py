"""Where properties come from: every source against every other, and what is said of wrong ones."""

from __future__ import annotations

import itertools
import textwrap
from pathlib import Path
from typing import Any

import pytest

from reworker.config import place_in
from reworker.errors import ConfigError
from reworker.jobs.settings import (
    NAMES,
    PROPERTIES,
    QUEUE_NAME,
    TABLE,
    WorkerSettings,
    worker_settings,
)
from reworker.jobs.sources import Given, constructor_properties, given_by_host, layers_of, types_of
from reworker.jobs.worker_ini import load_ini
from reworker.worker import Worker

#: sources of `instances`, strongest first; a variable is named as it is written.
SOURCES = (
    "REWORKER_SLEEP_INSTANCES",
    "conductor_worker_sleep_instances",
    "CONDUCTOR_WORKER_SLEEP_INSTANCES",
    "CONDUCTOR_WORKER_sleep_INSTANCES",
    "REWORKER_SLEEPWORKER_INSTANCES",
    "conductor_worker_sleepworker_instances",
    "REWORKER_INSTANCES",
    "conductor_worker_all_instances",
    "CONDUCTOR_WORKER_ALL_INSTANCES",
    "conductor_worker_instances",
    "CONDUCTOR_WORKER_INSTANCES",
    "[sleep]",
    "[SleepWorker]",
    "[DEFAULT]",
    "host.yaml",
    "worker file",
    "constructor",
)


def found_in(folder: Path, values: dict[str, Any], name: str = "instances") -> tuple[Any, str]:
    """Return (value, origin) of a property that several sources set, made real."""
    ini = folder / "worker.ini"
    ini.write_text("".join(f"{one}\n{name} = {values[one]}\n" for one in values if one[0] == "["))
    file = folder / "sleep.yaml"
    file.write_text(f"{name}: {values['worker file']}\n" if "worker file" in values else "")
    entry = {name: values["host.yaml"]} if "host.yaml" in values else {}
    constructor = {name: values["constructor"]} if "constructor" in values else {}
    environ = {one: str(value) for one, value in values.items() if "_" in one}
    own = {name: values["worker file"]} if "worker file" in values else {}
    with given_by_host(Given(str(ini), ("host.yaml:3", entry))):
        return layers_of("SleepWorker", constructor, (place_in(str(file)), own), environ).find(name)


@pytest.mark.parametrize(("strong", "weak"), list(itertools.combinations(SOURCES, 2)))
def test_stronger_source_wins_when_two_set_a_property(strong: str, weak: str, tmp_path: Path) -> None:
    value, origin = found_in(tmp_path, {weak: 1, strong: 2})
    assert int(value) == 2
    assert origin == PLACES.get(strong, strong).format(folder=tmp_path, line=2 if weak[0] != "[" else 4)


PLACES = {
    "[sleep]": "{folder}/worker.ini:{line}",
    "[SleepWorker]": "{folder}/worker.ini:{line}",
    "[DEFAULT]": "{folder}/worker.ini:{line}",
    "host.yaml": "host.yaml:3",
    "worker file": "{folder}/sleep.yaml:1",
}


@pytest.mark.parametrize("source", SOURCES)
def test_each_source_wins_over_the_default(source: str, tmp_path: Path) -> None:
    assert int(found_in(tmp_path, {source: 7})[0]) == 7


@pytest.mark.parametrize(
    ("alias", "name"), [(alias, name) for alias, name in NAMES.items() if alias != name.lower()]
)
def test_alias_is_weaker_than_the_name_and_as_good_without_it(alias: str, name: str) -> None:
    variable, ours = f"conductor_worker_sleep_{alias}", f"conductor_worker_sleep_{name}"
    made = layers_of("SleepWorker", {}, ("f", {}), {variable: "3"})
    assert made.find(name) == ("3", variable)
    made = layers_of("SleepWorker", {}, ("f", {}), {variable: "3", ours: "4"})
    assert made.find(name) == ("4", ours)
    assert constructor_properties({alias: 3}) == ({name: 3}, [])


def test_aliases_are_the_names_of_conductor() -> None:
    aliases = {alias: name for alias, name in NAMES.items() if alias != name.lower()}
    assert aliases == {
        "thread_count": "instances",
        "poll_interval": "polling_interval",
        "poll_interval_millis": "polling_interval",
    }


@pytest.mark.parametrize(
    ("class_name", "queue", "types"),
    [
        ("SleepWorker", None, ("sleep", "sleepworker")),
        ("Sleep", None, ("sleep",)),
        ("Worker", None, ("worker",)),
        ("SampleWorker", "Task-1", ("task-1", "sample", "sampleworker")),
    ],
)
def test_worker_is_of_the_types_of_its_queue_and_class(
    class_name: str, queue: str | None, types: tuple[str, ...]
) -> None:
    assert types_of(class_name, queue) == types


@pytest.mark.parametrize("is_by_host", [True, False])
def test_workers_of_one_class_are_told_apart_when_they_have_queues(is_by_host: bool, tmp_path: Path) -> None:
    ini = tmp_path / "worker.ini"
    ini.write_text("[sample]\ndomain = nice\n[task-1]\ndomain = cool\n")
    environ = {"conductor_worker_task_1_polling_interval": "500"}
    queue = {"queue": "task-1"}
    given = Given(str(ini), ("host.yaml", queue if is_by_host else {}))
    with given_by_host(given):
        made = layers_of("SampleWorker", {} if is_by_host else queue, ("f", {}), environ)
    assert (made.get("domain"), made.get("polling_interval")) == ("cool", "500")
    settings = worker_settings("SampleWorker", made)
    assert (settings.queue, settings.polling_interval_ms) == ("worker.cool.task-1", 500)


def test_ini_stands_in_the_current_folder_unless_a_variable_or_the_host_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(("worker.ini", "named.ini", "host.ini"), 2):
        (tmp_path / name).write_text(f"[DEFAULT]\ninstances={number}\n")
    monkeypatch.chdir(tmp_path)
    environ = {"REWORKER_WORKER_INI": "named.ini"}

    def instances(environ: dict[str, str]) -> int:
        return layers_of("SleepWorker", {}, ("f", {}), environ).integer("instances", 1)

    assert (instances({}), instances(environ)) == (2, 3)
    with given_by_host(Given("host.ini")):
        assert instances(environ) == 4
    assert Worker({})._settings.instances == 2


INI_ERRORS = [
    ("instances = 3\n", ":1: stands before the first [section]; for all workers write [DEFAULT]"),
    ("[a]\ninstanses = 3\n", ":2: instanses: no such property; did you mean 'instances'?"),
    ("[a]\ncolour = red\n", ":2: colour: no such property; there are accept_from, ack, "),
    ("[a]\nnothing\n", ":2: expected [section] or name = value, found 'nothing'"),
    ("[a]\n# c\n= 3\n", ":3: expected [section] or name = value, found '= 3'"),
    ("[a]\nack=late\nack=early\n", ":3: ack: stands in line 2 too"),
    ("[a]\nthread_count=1\ninstances=2\n", ":3: instances: stands in line 2 too"),
    ("[a]\n[A]\n", ":2: a second section [A]"),
    ("[a\n", ":1: expected [section] or name = value, found '[a'"),
]


@pytest.mark.parametrize(("text", "error"), INI_ERRORS)
def test_ini_is_refused_with_its_line_when_wrong(text: str, error: str, tmp_path: Path) -> None:
    path = tmp_path / "worker.ini"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_ini(str(path), NAMES)
    assert str(caught.value).startswith(f"{path}{error}")


@pytest.mark.parametrize("content", [None, b"\xff\xfe[a]"])
def test_ini_is_refused_when_it_cannot_be_read(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "worker.ini"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_ini(str(path), NAMES)


def test_ini_is_read_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "worker.ini"
    text = """
    [DEFAULT]
    # a comment
    ; another one
    Output_Level: warning
    drain_s=2.5
    routing_keys = worker.a,
        worker.b
    domain =
    """
    path.write_text("\ufeff" + textwrap.dedent(text), encoding="utf-8")
    with given_by_host(Given(str(path))):
        made = worker_settings("SleepWorker", layers_of("SleepWorker", {"domain": "eu"}, ("f", {}), {}))
    assert (made.output_level, made.drain_s, made.domain) == (30, 2.5, "")
    assert made.routing_keys == ("worker.a", "worker.b")


def test_variable_is_refused_when_it_is_nearly_a_property() -> None:
    text = "REWORKER_SLEEP_INSTANSES: no such property; did you mean 'instances'?"
    with pytest.raises(
        ConfigError, match="REWORKER_SLEEP_INSTANSES: no such property; did you mean"
    ) as caught:
        layers_of("SleepWorker", {}, ("f", {}), {"REWORKER_SLEEP_INSTANSES": "3"})
    assert str(caught.value) == text
    layers_of("SleepWorker", {}, ("f", {}), {"REWORKER_SLEEP_COLOUR": "red", "REWORKER_MQ": "x"})


#: values that properties refuse which take nearly any text; and values of which each property takes one.
WRONG: dict[str, Any] = {"queue": "a.*", "domain": "a b", "redactions": ["("]}
RIGHT = ("3", True, "TimeoutError", "early", "off", "run", "error", "json", "quorum", ["a", "b"])


@pytest.mark.parametrize("name", PROPERTIES)
def test_every_property_is_checked_and_says_what_is_allowed(name: str) -> None:
    kind = next((one.kind for one in TABLE.values() if one.name == name), QUEUE_NAME)
    wrong = WRONG.get(name, {"no": "such"})
    with pytest.raises(ConfigError) as caught:
        worker_settings(
            "SleepWorker", layers_of("SleepWorker", {}, (lambda _: "sleep.yaml:9", {name: wrong}), {})
        )
    assert str(caught.value) == f"sleep.yaml:9: {name}: expected {kind.allowed}, found {wrong!r}"
    assert [value for value in RIGHT if is_taken(name, value)]


def is_taken(name: str, value: Any) -> bool:
    try:
        worker_settings("SleepWorker", layers_of("SleepWorker", {}, ("f", {name: value}), {}))
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("domain", ["b.l", "NO_DOMAIN", "code", "d" * 101, "é"])
def test_domain_that_no_playbook_can_name_is_refused(domain: str) -> None:
    assert not is_taken("domain", domain)


@pytest.mark.parametrize("name", ["polling_interval", "timeout_s", "domain"])
def test_empty_text_takes_a_property_away_when_it_may_be_none(name: str) -> None:
    environ = {f"REWORKER_{name.upper()}": ""}
    made = worker_settings("SleepWorker", layers_of("SleepWorker", {name: 3}, ("f", {}), environ))
    default = worker_settings("SleepWorker", layers_of("SleepWorker", {}, ("f", {}), {}))
    assert made == default


@pytest.mark.parametrize(
    ("value", "users"), [("core, alice", ("core", "alice")), (["core"], ("core",)), ([], ()), ("", ())]
)
def test_senders_are_a_list_of_users(value: Any, users: tuple[str, ...]) -> None:
    layers = layers_of("SleepWorker", {"accept_from": value}, ("f", {}), {})
    assert worker_settings("SleepWorker", layers).accept_from == users


@pytest.mark.parametrize("value", [None, True, [""], ["x" * 256], [["core"]], "ok \ud800"])
def test_senders_are_refused_when_no_user_can_be_called_so(value: Any) -> None:
    assert not is_taken("accept_from", value)


def test_table_names_every_field_that_is_set() -> None:
    assert set(TABLE) | {"suffix", "queue", "queues_key"} == set(WorkerSettings.__struct_fields__)


def test_worker_of_many_queues_takes_nothing_ahead() -> None:
    class CodeWorker(Worker):
        queues_key = "worker.code.#"

    settings = CodeWorker({}, prefetch=9)._settings
    assert (settings.queues_key, settings.most_ahead) == ("worker.code.#", 1)
    assert [one.name for one in settings.topology().queues] == ["re.dead"]


def test_unknown_argument_gets_a_hint_when_it_is_a_slip(caplog: pytest.LogCaptureFixture) -> None:
    Worker({}, instanses=3, colour="red")
    assert "unknown arguments are ignored: colour, instanses; did you mean 'instances'?" in caplog.text


def test_key_of_the_own_file_gets_a_warning_when_it_is_a_slip(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "w.yaml"
    path.write_text("commands: {}\ninstanses: 3\nqueue: q\n")
    Worker({}, str(path))
    warned = [one.message for one in caplog.records]
    assert warned == [f"{path}:2: instanses is no property; did you mean 'instances'?"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"a": 1,\n\t"b": 2}', ":2"),
        ("a: 1\nb: 2\n", ":2"),
        ("- b\n", ""),
        ("a: [", ""),
        ("", ""),
        ("a: 1", ""),
    ],
)
def test_place_of_a_key_is_file_and_line_when_it_is_there(text: str, place: str, tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(text)
    assert place_in(str(path))("b") == f"{path}{place}"
    assert place_in(str(tmp_path / "gone"))("b") == str(tmp_path / "gone")
