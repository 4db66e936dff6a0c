"""A plugin's own settings: every value is checked, and a complaint names key and file."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from reworker.errors import ConfigError
from reworker.jobs.own_settings import own_settings, secret_of, tls_context
from reworker.testing import Harness
from reworker.worker import Worker


class Place(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    port: Annotated[int, msgspec.Meta(ge=1)] = 1


class Own(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename={"sender": "from"}):
    host: str
    sender: str = "x"
    places: dict[str, Place] = {}
    waits_s: list[float] = []

    def __post_init__(self) -> None:
        if self.host == "nowhere":
            raise ValueError("nowhere is no place")


def refused(config: dict[str, Any]) -> tuple[str, str, str]:
    with pytest.raises(ConfigError) as caught:
        own_settings(Own, config, "own.yaml")
    return caught.value.key, caught.value.reason, caught.value.path


def test_settings_are_a_struct_when_they_are_right() -> None:
    config = {"host": "a", "from": "b", "queue": "q", "OUTPUT_LEVEL": "INFO", "places": {"p": {"url": "u"}}}
    assert own_settings(Own, config) == Own(host="a", sender="b", places={"p": Place("u")})


@pytest.mark.parametrize(
    ("config", "key", "reason"),
    [
        ({}, "host", "is missing"),
        ({"host": 1}, "host", "Expected `str`, got `int`"),
        ({"host": "a", "form": "b"}, "form", "unknown setting (did you mean 'from'?)"),
        ({"host": "a", "zzz": "b"}, "zzz", "unknown setting"),
        ({"host": "a", "waits_s": [1, "x"]}, "waits_s[1]", "Expected `float`, got `str`"),
        ({"host": "a", "places": []}, "places", "Expected `object`, got `array`"),
        (
            {"host": "a", "places": {"good": {"url": "u"}, "bad": {"url": 7}}},
            "places.bad.url",
            "Expected `str`, got `int`",
        ),
        ({"host": "a", "places": {"good": {"url": "u"}, "bad": {}}}, "places.bad.url", "is missing"),
        ({"host": "a", "places": {"bad": {"url": "u", "x": 1}}}, "places.bad.x", "unknown setting"),
        ({"host": "a", "places": {"bad": {"url": "u", "port": 0}}}, "places.bad.port", "Expected `int` >= 1"),
        ({"host": "nowhere"}, "", "nowhere is no place"),
    ],
)
def test_complaint_names_key_and_file_when_a_setting_is_wrong(
    config: dict[str, Any], key: str, reason: str
) -> None:
    assert refused(config) == (key, reason, "own.yaml")


def test_struct_is_refused_when_it_has_a_key_of_every_worker() -> None:
    class Greedy(msgspec.Struct):
        timeout_s: float = 1.0

    with pytest.raises(TypeError, match="every worker has the setting timeout_s"):
        own_settings(Greedy, {})


def test_worker_reads_its_settings_when_built() -> None:
    worker = Harness(Worker, {"host": "a", "instances": 2}).worker
    assert worker.own_settings(Own).host == "a"


def test_secret_comes_from_its_file_and_is_hidden_when_shown(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("open sesame\n", encoding="utf-8")
    secret = secret_of(None, str(file))
    assert (secret, repr(secret)) == ("open sesame", "'***'")
    assert secret_of("given", None) == "given"
    assert secret_of(None, None) is None


@pytest.mark.parametrize(
    ("content", "value", "text"),
    [(None, None, "cannot read"), ("\n", None, "holds no secret"), ("x", "y", "not both")],
)
def test_secret_is_refused_when_there_is_none_or_two(
    tmp_path: Path, content: str | None, value: str | None, text: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=text):
        secret_of(value, str(file))


def test_tls_checks_names_when_nothing_is_said(tmp_path: Path) -> None:
    context = tls_context()
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    with pytest.raises(ValueError, match="cannot use the certificates"):
        tls_context(str(tmp_path / "missing.pem"))
