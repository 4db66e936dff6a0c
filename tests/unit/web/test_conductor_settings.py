"""Settings of the Conductor interface: what is wrong with them is said by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from reworker.errors import ConfigError
from reworker.gateway.contract import LateResult
from reworker.web.conductor.settings import ConductorSettings, load_settings


def test_file_says_what_differs(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("hold_s: 2\nlate_result: accept\nprefixes: [/x/api]\n")
    found = load_settings(str(tmp_path / "c.yaml"))
    assert found == ConductorSettings(("/x/api",), 2, late_result=LateResult.ACCEPT)
    (tmp_path / "c.yaml").write_text("# nothing\n")
    assert load_settings(str(tmp_path / "c.yaml")) == load_settings("") == ConductorSettings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hold_s: 9", "hold_s: takes 0 to 8 seconds"),
        ("hold_s: -1", "hold_s: takes 0 to 8 seconds"),
        ("hold_s: soon", "hold_s"),
        ("late_result: maybe", "late_result"),
        ("response_timeout_s: 0", "response_timeout_s: takes 1 second to 30 days"),
        ("prefixes: []", "prefixes: without one no worker finds us"),
        ("prefixes: [api]", "prefixes: 'api' is no beginning"),
        ("prefixes: [/api/]", "prefixes: '/api/' is no beginning"),
        ("prefixes: [/api/v1/x]", "prefixes: '/api/v1/x' is no beginning"),
        ("holds: 3", "`holds`; there are prefixes, hold_s,"),
        ("- 1", "does not say how workers are served"),
        ("a: [", "cannot be read"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(str(tmp_path / "c.yaml"))
    assert str(caught.value).startswith(f"{tmp_path / 'c.yaml'}: ")
    assert words in str(caught.value)


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(str(tmp_path / "none.yaml"))
