"""``reworker config show``: values, origins, masks, entries of a host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from reworker.cli.main import cli
from reworker.errors import ConfigError
from reworker.jobs.settings import PROPERTIES


def shown(*arguments: str, **variables: str) -> dict[str, dict[str, Any]]:
    result = CliRunner().invoke(cli, ["config", "show", *arguments, "-o", "json"], env=variables)
    assert result.exit_code == 0, result.exception
    table: dict[str, dict[str, Any]] = json.loads(result.output)
    return table


def refused(*arguments: str, **variables: str) -> str:
    result = CliRunner().invoke(cli, ["config", "show", *arguments], env=variables)
    assert isinstance(result.exception, ConfigError)
    return str(result.exception)


def test_every_property_is_shown_with_where_it_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "sleep.yaml"
    file.write_text("prefetch: 3\nack: early\n")
    table = shown("sleep", "-w", str(file), REWORKER_SLEEP_ACK="late", conductor_worker_domain="eu")
    assert set(table) >= set(PROPERTIES)
    assert table["prefetch"] == {"value": 3, "from": f"{file}:1"}
    assert table["ack"] == {"value": "late", "from": "REWORKER_SLEEP_ACK"}
    assert table["domain"] == {"value": "eu", "from": "conductor_worker_domain"}
    assert table["queue"] == {"value": "sleepworker", "from": "default"}
    assert table["OUTPUT_LEVEL"] == {"value": "INFO", "from": "default"}
    assert table["declare"] == {"value": "declare", "from": "default"}


def test_secrets_are_masked_in_both_forms(tmp_path: Path) -> None:
    file = tmp_path / "noop.yaml"
    file.write_text(
        "password: geheim1\napi_key: geheim2\nkeyboard: qwertz\nurl: 'http://u:geheim3@h/'\n"
        "nested: {login: [{token: geheim4, name: ann}]}\nempty:\n"
    )
    arguments = ("noop", "-w", str(file), "--mq", "amqp://u:geheim5@h/")
    table = shown(*arguments)
    assert table["mq"] == {"value": "amqp://u:***@h:5672/", "from": "--mq"}
    assert table["nested"]["value"] == {"login": [{"token": "***", "name": "ann"}]}
    assert (table["keyboard"]["value"], table["empty"]["value"]) == ("qwertz", None)
    text = CliRunner().invoke(cli, ["config", "show", *arguments]).output
    assert "geheim" not in text + json.dumps(table)
    assert "url" in text
    assert f"{file}:4" in text


def test_entry_of_a_host_is_found_by_name_type_and_queue(tmp_path: Path) -> None:
    path = tmp_path / "host.yaml"
    path.write_text(
        "mq: amqp://h/\nworkers:\n- sleep\n- worker: noop\n  instances: 2\n- worker: noop\n  queue: other\n"
    )
    assert shown("sleepworker", "-c", str(path))["mq"] == {
        "value": "amqp://guest:***@h:5672/",
        "from": str(path),
    }
    other = shown("other", "-c", str(path))
    assert (other["queue"], other["instances"]["value"]) == ({"value": "other", "from": f"{path}:7"}, 1)
    assert refused("noop", "-c", str(path)).endswith("2 entries are called so: say the queue of one")
    assert refused("sleap", "-c", str(path)).endswith("no such entry; did you mean 'sleep'?")
    assert "no such entry; there are noop, " in refused("zzz", "-c", str(path))


def test_variable_of_the_message_bus_is_named() -> None:
    assert shown("noop", REWORKER_MQ="amqp://h/")["mq"]["from"] == "REWORKER_MQ"


@pytest.mark.parametrize(
    ("arguments", "variables", "text"),
    [
        (["nosuch"], {}, "no such worker"),
        (["noop"], {"REWORKER_NOOP_ACK": "soon"}, "REWORKER_NOOP_ACK: ack: expected one of late, early"),
        (["noop", "-w", "/no/such.yaml"], {}, "/no/such.yaml: cannot be read"),
        (["noop", "-c", "/no/such.yaml"], {}, "/no/such.yaml: cannot be read"),
    ],
)
def test_wrong_settings_are_an_error(arguments: list[str], variables: dict[str, str], text: str) -> None:
    assert text in refused(*arguments, **variables)
