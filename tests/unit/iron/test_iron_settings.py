"""Where the settings of the IronWorker client come from, and which of them counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reworker.errors import ConfigError
from reworker.iron.settings import IronSettings, is_file_name, load_settings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    return made


def loaded(
    folder: Path,
    arguments: dict[str, object] | None = None,
    *,
    environ: dict[str, str] | None = None,
    config_file: str = "",
) -> IronSettings:
    variables = {"HOME": str(folder / "home"), **(environ or {})}
    return load_settings(arguments or {}, variables, folder=folder, config_file=config_file)


def put_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps(values))


def test_settings_are_those_of_a_local_server_when_only_a_token_is_given(tmp_path: Path) -> None:
    found = loaded(tmp_path, {"token": "t"})
    assert found == IronSettings("t", "default", "http://127.0.0.1:8080", token_source="argument token")


def test_stronger_layer_counts_when_all_are_there(tmp_path: Path, home: Path) -> None:
    layers = ["home", "plain", "worker", "here", "named", "argument"]
    put_json(home / ".iron.json", token="home", project_id="home")
    put_json(tmp_path / "iron.json", token="here", iron_worker={"project_id": "here"})
    (tmp_path / "config.ini").write_text("[iron_worker]\ntoken = named\nproject_id = named\n")
    found = []
    for count in range(1, len(layers) + 1):
        environ = {"IRON_PROJECT_ID": "plain"} if count > 1 else {}
        environ |= {"IRON_WORKER_PROJECT_ID": "worker"} if count > 2 else {}
        if count < 4:
            (tmp_path / "iron.json").rename(tmp_path / "away.json")
        named = "config.ini" if count > 4 else ""
        arguments: dict[str, object] = {"project_id": "argument"} if count > 5 else {}
        found.append(loaded(tmp_path, arguments, environ=environ, config_file=named).project_id)
        if count < 4:
            (tmp_path / "away.json").rename(tmp_path / "iron.json")
    assert found == layers


@pytest.mark.parametrize("section", ["iron_worker", "IronWorker", "Iron_Worker"])
def test_ini_file_is_read_when_its_section_has_either_name(tmp_path: Path, section: str) -> None:
    text = f"[{section}]\ntoken = a%b\nproject_id = p\nhost = example.com\n"
    text += "port = 81\nprotocol = http\nversion = 3\n"
    (tmp_path / "config.ini").write_text("\ufeff" + text)
    found = loaded(tmp_path, config_file="config.ini")
    assert (found.token, found.project_id, found.url) == ("a%b", "p", "http://example.com:81")
    assert (found.api_version, found.token_source) == ("3", str(tmp_path / "config.ini"))


def test_json_file_is_read_when_its_values_stand_in_a_part_for_us(tmp_path: Path) -> None:
    put_json(
        tmp_path / "other.json", token="flat", iron_worker={"token": "ours"}, iron_mq={"token": "theirs"}
    )
    assert loaded(tmp_path, config_file="other.json").token == "ours"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({"host": "example.com"}, "https://example.com:443"),
        ({"host": "example.com", "protocol": "http"}, "http://example.com:80"),
        ({"host": "localhost"}, "http://localhost:8080"),
        ({"host": "127.0.0.1", "scheme": "https"}, "https://127.0.0.1:443"),
        ({"host": "::1", "port": "9"}, "http://[::1]:9"),
        ({"port": 18080}, "http://127.0.0.1:18080"),
        ({"cloud": "https://example.com/iron"}, "https://example.com:443/iron"),
        ({"cloud": "http://10.0.0.1:99", "host": "b"}, "http://10.0.0.1:99"),
        ({"host": "a", "path_prefix": "/x/"}, "https://a:443/x"),
    ],
)
def test_address_is_put_together_when_parts_of_it_are_given(
    tmp_path: Path, given: dict[str, object], url: str
) -> None:
    assert loaded(tmp_path, {"token": "t", **given}).url == url


def test_variable_of_either_name_counts_when_it_says_the_scheme(tmp_path: Path) -> None:
    environ = {"IRON_TOKEN": "t", "IRON_HOST": "a", "IRON_PORT": "1", "IRON_SCHEME": "http"}
    assert loaded(tmp_path, environ=environ).url == "http://a:1"
    assert loaded(tmp_path, environ={"IRON_TOKEN": "t", "IRON_CLOUD": "http://b:2"}).url == "http://b:2"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "token: there is none"),
        ({"token": "INSERT TOKEN HERE"}, "argument token: token: that is no token"),
        ({"token": "t\n"[:1] + "\x00"}, "that is no token"),
        ({"token": "t", "port": "many"}, "argument port: port: 1 to 65535, found 'many'"),
        ({"token": "t", "port": 70000}, "1 to 65535, found 70000"),
        ({"token": "t", "protocol": "ftp"}, "http or https, found 'ftp'"),
        ({"token": "t", "host": "a/b"}, "argument host: host: 'a/b' cannot stand in an address"),
        ({"token": "t", "host": "u@b"}, "cannot stand in an address"),
        ({"token": "t", "host": "127.0.0.1:8080"}, "; a port is a setting of its own"),
        ({"token": "t", "path_prefix": "a?b"}, "cannot stand in an address"),
        ({"token": "t", "version": "2/.."}, "cannot stand in an address"),
        ({"token": "t", "cloud": "example.com"}, "is not http://HOST:PORT"),
        ({"token": "t", "cloud": "http://a:b"}, "is no address"),
    ],
)
def test_wrong_value_is_named_when_settings_are_read(
    tmp_path: Path, given: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, given)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.ini", None, "there is no such file with settings"),
        ("config.ini", b"[other]\ntoken = t\n", "it has no section [iron_worker]"),
        ("config.ini", b"token = t\n", "it is no INI file"),
        ("config.ini", b"[iron_worker]\ntoken = \xff\n", "it cannot be read"),
        ("config.json", b"{", "it is no JSON"),
        ("config.json", b"[]", "it is no JSON object"),
        ("config.json", b"", "it is no JSON"),
    ],
)
def test_file_is_named_when_it_cannot_be_read(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, {"token": "t"}, config_file=name)
    assert words in str(error.value)
    assert str(tmp_path / name) in str(error.value)


def test_first_argument_is_a_token_when_it_names_no_file(tmp_path: Path) -> None:
    (tmp_path / "settings").touch()
    names = ["config.ini", "conf/x", "iron.json", "settings", "aRJsg9", "rw_abc_def"]
    assert [is_file_name(name, tmp_path) for name in names] == [True, True, True, True, False, False]
