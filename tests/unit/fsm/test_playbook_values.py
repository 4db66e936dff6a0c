"""Single values of a playbook: hosts, names, durations, notifications."""

from __future__ import annotations

import json

import pytest

from reworker.fsm.parsing import parse, problems
from tests.unit.fsm.playbook_texts import build, build_step, refused


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "web 1",
        "web1\n",
        "web1\nweb2",
        "web1;rm -rf /",
        "a\tb",
        "-oProxyCommand=x",
        "$(id)",
        "a/b",
        "..",
        "a..b",
        "*",
        "web\u202e1",
        "x" * 254,
        "\u00e9" * 100,
    ],
)
def test_parse_refuses_host_when_it_is_none(host):
    refused(build(hosts=["ok", host]), "is not a host name or address", "execution[0].hosts[1]")


@pytest.mark.parametrize("host", [1, 1.5, None, True, ["a"], {"a": 1}])
def test_parse_refuses_host_when_it_is_no_text(host):
    refused(build(hosts=[host]), "must be text", "execution[0].hosts[0]")


@pytest.mark.parametrize(
    "host",
    [
        "web1",
        "web1.example.com",
        "web1.",
        "10.0.0.1",
        "::1",
        "[2001:db8::1]:22",
        "fe80::1%eth0",
        "bücher.example",
        "db_1",
    ],
)
def test_parse_accepts_host_when_it_is_a_name_or_address(host):
    assert parse(build(hosts=[host])).execution[0].hosts == (host,)


@pytest.mark.parametrize("twin", ["web1", "WEB1", "Web1.", "\uff37EB1"])
def test_parse_refuses_host_when_it_is_listed_in_another_spelling(twin):
    refused(build(hosts=["web1", "x", twin]), "is listed twice (as 'web1')", "execution[0].hosts[2]")


def test_parse_refuses_host_when_it_is_listed_as_idn_and_in_ascii():
    refused(build(hosts=["Bücher.example", "xn--bcher-kva.example"]), "is listed twice")


@pytest.mark.parametrize("value", ["", " ", "a\nb", "x" * 201, 1, None, ["a"], "\u202e"])
def test_parse_refuses_name_when_it_is_no_line_of_text(value):
    whole = {**json.loads(build()), "name": value}
    assert problems(json.dumps(whole))[0].path == "name"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1, 1.0),
        (0.5, 0.5),
        ("30s", 30.0),
        ("1.5s", 1.5),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("2d", 172800.0),
        ("1d1h1m1s", 90061.0),
    ],
)
def test_parse_gives_seconds_when_timeout_is_a_duration(value, seconds):
    (found,) = parse(build_step({"a:B": {}, "timeout": value})).execution[0].steps
    assert found.timeout_s == seconds


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        -0.5,
        "0s",
        "1h banana",
        "",
        "5",
        "m",
        "-5m",
        "5 m",
        "1m1h",
        "٣s",
        1e30,
        "999999d",
        "9" * 500 + "s",
        True,
        None,
        ["5m"],
    ],
)
@pytest.mark.parametrize("key", ["timeout", "queue_timeout"])
def test_parse_refuses_timeout_when_it_is_no_duration(key, value):
    refused(build_step({"a:B": {}, key: value}), "is no duration", f"execution[0].steps[0].{key}")


@pytest.mark.parametrize(
    ("notify", "part"),
    [
        (3, "notify must be a mapping"),
        ({"start": {"irc": ["#a"]}}, "unknown phase 'start'; did you mean 'started'?"),
        ({"started": ["irc"]}, "a phase must be a mapping"),
        ({"started": {"irc": "#a"}}, "targets must be a list with at least one item, not '#a'"),
        ({"started": {"irc": []}}, "targets must be a list with at least one item, empty"),
        ({"started": {"irc": [3]}}, "must be text, not 3"),
        ({"started": {"irc.#": ["a"]}}, "transport 'irc.#' is no word"),
    ],
)
def test_parse_refuses_notify_when_it_is_wrong(notify, part):
    refused(build(notify=notify), part)
    refused(build_step({"a:B": {"notify": notify}}), part)


def test_parse_refuses_id_when_it_is_used_twice():
    steps = [{"a:B": {}, "id": "x"}, {"a:B": {}, "id": "x"}]
    refused(build(steps=steps), "id 'x' is used twice", "execution[0].steps[1].id")


@pytest.mark.parametrize("key", ["\x1b[2J", "a\nb", "\u202ex", "x" * 900])
def test_parse_escapes_and_shortens_the_path_when_a_key_is_hostile(key):
    found = refused(build(notify={"started": {key: ["a"]}}), "is no word")
    assert found.path.startswith("execution[0].notify.started.")
    assert found.path.isprintable()
    assert len(found.path) <= 303
