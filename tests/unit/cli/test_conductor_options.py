"""Options of the Conductor interface."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from reworker.cli.conductor_options import conductor_options
from reworker.errors import ConfigError


@click.command()
@partial(conductor_options, is_on=False)
def serving(*, conductor: Any) -> None:
    """Say what would be served; nothing is an empty line."""
    click.echo(conductor or "")


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "c.yaml").write_text("hold_s: 3")
    return str(tmp_path / "c.yaml")


def test_settings_that_nobody_is_served_by_are_refused(file: str) -> None:
    result = CliRunner().invoke(serving, ["--conductor-config", file])
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith("--conductor-config: serves nobody without --conductor")


def test_variable_with_settings_may_be_there_for_other_commands(file: str) -> None:
    environ = {"REWORKER_CONDUCTOR_CONFIG": file}
    assert CliRunner().invoke(serving, [], env=environ).output == "\n"
    assert "hold_s=3.0" in CliRunner().invoke(serving, ["--conductor"], env=environ).output
