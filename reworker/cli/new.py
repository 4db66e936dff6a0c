"""``reworker new NAME``: a plugin that works, with its test, playbook and settings."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

import click

from reworker.errors import ConfigError

WORKER = '''"""$title worker: says what it does on each host."""

from reworker.worker import Job, Worker, runner, step


class ${title}Worker(Worker):
    """Steps of `$name`; each method marked with @step is a subcommand."""

    @step("Greet", idempotent=True, timeout_s=60)
    def greet(self, job: Job, *, greeting: str = "hello") -> dict[str, str]:
        """Greet every host of the step."""
        for host in job.hosts:
            job.output.info("%s, %s", greeting, host)
        return {"greeted": ", ".join(job.hosts)}


def main() -> None:
    """Run this worker: ``python replugin/${name}worker/__init__.py mq.json``."""
    runner(${title}Worker)


if __name__ == "__main__":
    main()
'''

TEST = '''"""The worker's own test; run it with pytest from this folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "replugin"))

from ${name}worker import ${title}Worker

from reworker.testing import deliver


def test_greet_completes_and_greets_each_host():
    result = deliver(${title}Worker, "$name:Greet", {"greeting": "good day"}, hosts=["web1"])
    assert result.statuses == ["started", "completed"]
    assert result.data == {"greeted": "web1"}
    assert "good day, web1" in result.output


def test_greet_fails_when_a_parameter_is_unknown():
    result = deliver(${title}Worker, "$name:Greet", {"greting": "hi"}, hosts=["web1"])
    assert result.statuses == ["failed"]
    assert "greting" in str(result.final)
'''

PLAYBOOK = """group: example
name: try the $name worker
execution:
- description: one greeting
  hosts: [web1, web2]
  steps:
  - $name:Greet: {greeting: good day}
"""

MQ = '{"server": "localhost", "port": 5672, "vhost": "/", "user": "guest", "password": "guest"}\n'

README = """# re-worker-$name

A worker for the steps `$name:*`. Four shells, from this folder:

    reworker broker
    python replugin/${name}worker/__init__.py mq.json
    reworker core --mq mq.json
    reworker run playbook.yaml

Its test: `pytest`.
"""

FILES = {
    "replugin/__init__.py": "",
    "replugin/${name}worker/__init__.py": WORKER,
    "tests/test_${name}.py": TEST,
    "pytest.ini": "[pytest]\n",
    "playbook.yaml": PLAYBOOK,
    "mq.json": MQ,
    "README.md": README,
}


@click.command()
@click.argument("name")
@click.option(
    "--dir", "folder", type=click.Path(file_okay=False), help="Where to create it; default ./re-worker-NAME."
)
def new(name: str, folder: str | None) -> None:
    """Create a worker plugin called NAME that runs and passes its test."""
    if not re.fullmatch(r"[a-z][a-z0-9]{0,39}", name):
        raise ConfigError("use up to 40 lower-case letters and digits, a letter first", key=name)
    top = Path(folder or f"re-worker-{name}")
    if top.exists() and any(top.iterdir()):
        raise ConfigError("exists and is not empty; choose another --dir", path=str(top))
    words = {"name": name, "title": name.capitalize()}
    for place, text in FILES.items():
        path = top / Template(place).substitute(words)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(text).substitute(words), encoding="utf-8")
        click.echo(f"created {path}")
    click.echo(f"next: cd {top} && pytest")
