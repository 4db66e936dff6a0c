"""``reworker demo``: two playbooks end to end on this machine, one that works and one that fails."""

from __future__ import annotations

import shutil
import sys
from importlib.resources import files
from pathlib import Path

import click

from reworker.cli.main import EXIT_FAILED, EXIT_OK
from reworker.cli.run import follow
from reworker.cli.wiring import LOCAL_WORKERS, local_system, opened_service
from reworker.logs import setup

#: playbook -> exit code it must end with.
PLAYBOOKS = {"rollout.yaml": EXIT_OK, "broken.yaml": EXIT_FAILED}


@click.command()
@click.option(
    "--state", default="state/demo", show_default=True, type=click.Path(file_okay=False, path_type=Path)
)
def demo(state: Path) -> None:
    """Start a broker, a core and workers, and run two playbooks: one completes, one fails on purpose."""
    setup("WARNING")
    click.echo(f"starting the embedded broker, the core and the workers {', '.join(LOCAL_WORKERS)}")
    is_as_expected = True
    with local_system(state, LOCAL_WORKERS) as system, opened_service(system.db) as service:
        for name, expected in PLAYBOOKS.items():
            text = (files("reworker") / "demo" / name).read_text(encoding="utf-8")
            purpose = "fails on purpose" if expected else "completes"
            click.echo(f"\n$ reworker run {name}   # {purpose}")
            deployment_id = system.core.service.submit(text, actor="demo", source=name)
            is_as_expected &= follow(service, deployment_id, "text", system.db) == expected
    # `make demo` runs us from an environment that is not on the path.
    own = "reworker" if shutil.which("reworker") else str(Path(sys.executable).with_name("reworker"))
    click.echo("\nWhere to look next:")
    click.echo(f"  every event of the last one:  {own} show {deployment_id} --db {system.db}")
    click.echo(f"  its output:                   {own} logs {deployment_id} --db {system.db}")
    click.echo(f"  your own worker:              {own} new NAME")
    click.echo(f"  both of them in a browser:    {own} up --state {state}  # prints the address")
    sys.exit(EXIT_OK if is_as_expected else EXIT_FAILED)
