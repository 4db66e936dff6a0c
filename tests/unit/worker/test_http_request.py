"""The httprequest worker without a server: its settings, what it refuses, and what it makes of answers."""

from __future__ import annotations

from typing import Any

import pytest

from replugin.httprequestworker import HttpRequestWorker, data_of, is_expected, masked, url_of
from reworker.errors import ConfigError
from reworker.jobs.http_call import HttpAnswer
from reworker.testing import Harness, deliver

BASES = {
    "api": {"url": "https://api.x.org/v1/", "headers": {"Authorization": "Bearer open-sesame"}},
    "read": {"url": "https://api.x.org/v1/public", "methods": ["Get"]},
    "host": {"url": "http://{host}:8080/"},
}


@pytest.mark.parametrize(
    ("subcommand", "parameters", "problem"),
    [
        ("Get", {}, "url: missing"),
        ("Get", {"url": 7}, "url: Expected `str`"),
        ("Get", {"url": "https://api.x.org/v2/"}, "is below none that the settings name"),
        ("Get", {"url": "https://api.x.org/v1/../v2"}, "goes up"),
        ("Get", {"url": "http://api.x.org/v1/"}, "is below none"),
        ("Get", {"url": "https://api.x.org:444/v1/"}, "is below none"),
        ("Get", {"url": "https://api.x.org@evil.org/v1/"}, "has a user"),
        ("Get", {"url": "https://api.x.org/v1/\r\nX: y"}, "characters"),
        ("Get", {"url": "http://{host}.evil.org:8080/"}, "is below none"),
        ("Get", {"url": "http://web1:8080/"}, "is below none"),
        ("Post", {"url": "https://api.x.org/v1/public/x"}, "the settings allow Get there"),
        ("Get", {"url": "https://api.x.org/v1/x", "body": "b"}, "body: unknown parameter"),
        ("Put", {"url": "https://api.x.org/v1/x", "body": "b", "json": {}}, "give one of them"),
        ("Get", {"url": "https://api.x.org/v1/x", "expect": "200"}, "expect: Expected"),
        ("Get", {"url": "https://api.x.org/v1/x", "headers": {"A b": "c"}}, "'A b' is no name of a header"),
        ("Get", {"url": "https://api.x.org/v1/x", "headers": {"A": "b\r\nC: d"}}, "the value of A"),
        ("Get", {"url": "https://api.x.org/v1/x", "headers": {"host": "b"}}, "host is not yours to set"),
        (
            "Get",
            {"url": "https://api.x.org/v1/x", "headers": {"authorization": "b"}},
            "authorization is set by the settings",
        ),
    ],
)
def test_step_is_not_started_when_a_parameter_is_wrong(
    subcommand: str, parameters: dict[str, Any], problem: str
) -> None:
    config = {"bases": BASES}
    transcript = deliver(HttpRequestWorker, f"httprequest:{subcommand}", parameters, config=config)
    assert transcript.statuses == ["failed"]
    assert problem in transcript.message
    assert "open-sesame" not in transcript.message


@pytest.mark.parametrize(
    ("hosts", "url"),
    [
        (["web1"], "http://web1:8080/"),
        (["10.0.0.1"], "http://10.0.0.1:8080/"),
        (["fe80::1"], "http://[fe80::1]:8080/"),
    ],
)
def test_url_has_the_steps_host_when_it_asks_for_it(hosts: list[str], url: str) -> None:
    assert url_of("http://{host}:8080/", hosts) == url
    assert url_of("http://fixed/", []) == "http://fixed/"


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        ["a", "b"],
        [""],
        ["a/b"],
        ["a@b"],
        ["a:80"],
        [
            "..",
        ],
        ["a b"],
        ["::1/x"],
        ["fe80::1%eth0"],
        ["::1%a]@evil.org?"],
    ],
)
def test_step_is_not_started_when_its_host_is_none(hosts: list[str]) -> None:
    parameters = {"url": "http://{host}:8080/x"}
    transcript = deliver(
        HttpRequestWorker, "httprequest:Get", parameters, hosts=hosts, config={"bases": BASES}
    )
    assert transcript.statuses == ["failed"]
    assert "url: " in transcript.message


def test_secret_is_masked_in_every_form_it_may_come_back_in() -> None:
    secrets = ['Bearer a"b/c', 'a"b/c']
    assert masked('{"x": "a\\"b/c"} a%22b%2Fc Bearer a"b/c', secrets) == '{"x": "***"} *** ***'


def test_answer_is_json_when_it_says_so_and_is_whole() -> None:
    def answer(body: bytes, kind: str = "application/json; charset=utf-8", *, is_cut: bool = False) -> Any:
        headers = {"content-type": kind, "set-cookie": "session=1", "x": "secret"}
        return data_of(HttpAnswer(200, "OK", headers, body, is_cut), ["secret"])

    data = answer(b'{"a": ["secret"]}')
    assert data["json"] == {"a": ["***"]}
    assert data["headers"] == {
        "content-type": "application/json; charset=utf-8",
        "set-cookie": "***",
        "x": "***",
    }
    assert answer(b'{"a": 1}', is_cut=True)["body"] == '{"a": 1}'
    assert answer(b"{")["body"] == "{"
    assert answer(b"[" * 100_000)["body"].startswith("[[[")
    assert answer(b"\xff", "text/plain")["body"] == "\ufffd"
    assert answer(b"[1]", "application/problem+json")["json"] == [1]


@pytest.mark.parametrize(
    ("status", "expect", "is_success"),
    [
        (200, None, True),
        (299, None, True),
        (302, None, False),
        (404, None, False),
        (404, 404, True),
        (200, 404, False),
        (302, [200, 302], True),
        (200, [], False),
    ],
)
def test_status_is_success_when_it_is_expected(status: int, expect: Any, is_success: bool) -> None:
    assert is_expected(status, expect) is is_success


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({}, "bases: is missing"),
        ({"bases": {}}, "bases: Expected `object` of length >= 1"),
        ({"bases": {"a": {}}}, "bases.a.url: is missing"),
        ({"bases": {"a": {"url": "x"}}}, "bases.a: 'x' is no http or https URL"),
        ({"bases": {"a": {"url": "http://x/?q"}}}, "bases.a: url: has a query"),
        ({"bases": {"a": {"url": "http://x/", "methods": ["GET"]}}}, r"bases.a.methods\[0\]: Invalid enum"),
        ({"bases": {"a": {"url": "http://x/", "headers": {"A": "b\nc"}}}}, "the value of A has line breaks"),
        ({"bases": {"a": {"url": "http://x/", "header_files": {"A": "/no/such"}}}}, "cannot read the secret"),
        ({"bases": {"a": {"url": "http://x/", "token": "b"}}}, "bases.a.token: unknown setting"),
        ({"bases": {"a": {"url": "http://x/"}}, "answer_bytes": 1 << 20}, "answer_bytes: Expected `int` <="),
        ({"bases": {"a": {"url": "http://x/"}}, "request_timeout_s": 0}, "request_timeout_s: Expected"),
        ({"bases": {"a": {"url": "http://x/"}}, "ca": "/no/such"}, "cannot use the certificates"),
    ],
)
def test_http_settings_are_refused_when_wrong(config: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Harness(HttpRequestWorker, config)
