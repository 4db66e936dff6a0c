"""``reworker drill``."""

from __future__ import annotations

from reworker.cli.main import cli

PRELOADED = (
    "reworker.cli.core",
    "reworker.cli.worker",
    "reworker.cli.wiring",
    "reworker.core.core",
    "reworker.storage.sql",
    "reworker.storage.log",
    "reworker.bus.connection",
    "reworker.drill.worker",
    "reworker.host.plugins",
    "sqlalchemy.dialects.sqlite",
)


def run_command(arguments: list[str]) -> None:
    """Run a command of ours in this process."""
    cli.main(args=arguments, prog_name="reworker", standalone_mode=False)
