"""Public clients of Conductor, as they are on PyPI, and the whole product for them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from reworker.cli.wiring import opened_storage
from reworker.clock import SystemClock
from reworker.core.access import Access
from reworker.core.principal import Scope
from reworker.core.reads import AttemptView
from reworker.core.service import Service
from tests.conftest import require_server
from tests.support.iron_site import NPM_FOLDER
from tests.support.processes import Process
from tests.support.waiting import wait_until

CLIENTS = Path(__file__).parent.parent / "compat" / "clients"
#: where tests/services.sh puts them: apart, as they bring what we have in other versions.
CLIENT_PYTHON = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    / "reworker"
    / "conductor"
    / "bin"
    / "python"
)
#: seconds in which a program of a client is ready, on a busy day: each of its workers is a process.
READY_S = 90.0


def require_clients() -> None:
    """Skip the test without the packages, fail it in CI."""
    require_server("swift-conductor-client and conductor-python of PyPI", CLIENT_PYTHON.exists())
    package = NPM_FOLDER / "node_modules" / "@io-orkes" / "conductor-javascript"
    require_server("@io-orkes/conductor-javascript of npm", package.is_dir())


def client_process(name: str, folder: Path, environment: Mapping[str, str], *arguments: str) -> Process:
    """Start a program of a client, in Python or JavaScript."""
    return Process(
        *(str(CLIENTS / name), *arguments),
        command=("node",) if name.endswith(".js") else (str(CLIENT_PYTHON),),
        folder=folder,
        environment={"NODE_PATH": str(NPM_FOLDER / "node_modules"), **environment},
    )


def playbook_of(command: str, subcommand: str = "Do", **parameters: Any) -> str:
    """Return a playbook of one step, on a host that no other has; `domain` is none of its parameters."""
    domain = parameters.pop("domain", None)
    step = {f"{command}:{subcommand}": parameters, **({"domain": domain} if domain else {})}
    execution = [{"hosts": [command.replace("_", "-")], "steps": [step]}]
    return json.dumps({"group": "web", "name": command, "execution": execution})


class ConductorSite:
    """A server that workers poll, and its database.

    Args:
        url: of the server.
        db: of its core.
    """

    def __init__(self, url: str, db: str) -> None:
        self.url, self.db = url, db

    def token(self, *scopes: Scope) -> str:
        """Make a token."""
        with opened_storage(self.db) as (storage, _), closing(Access(storage, SystemClock())) as access:
            return access.create_token("worker", scopes)[1]

    def wait_for_polls(self, types: Iterable[str], token: str = "") -> None:
        """Wait until all of these types have been polled."""
        headers = {"X-Authorization": token} if token else {}
        place = f"{self.url}/api/tasks/queue/polldata/all"

        def are_polled() -> bool:
            found = httpx.get(place, headers=headers, trust_env=False, timeout=30).json()
            return set(types) <= {one["queueName"] for one in found}

        wait_until(are_polled, READY_S, f"polls of {sorted(types)}")

    def run(self, texts: Mapping[str, str], timeout_s: float) -> dict[str, AttemptView]:
        """Run playbooks of one step, all at once; return the last attempt of each, once all have ended."""
        with opened_storage(self.db) as (storage, logs):
            service = Service(storage, logs, SystemClock())
            ids = {name: service.submit(text) for name, text in texts.items()}

            def open_ones() -> dict[str, str]:
                views = {name: service.deployment(own_id) for name, own_id in ids.items()}
                return {name: str(view.state.status) for name, view in views.items() if not view.is_over}

            with contextlib.suppress(TimeoutError):
                wait_until(lambda: not open_ones(), timeout_s)
            assert not (left := open_ones()), f"these have not ended in {timeout_s:g} s: {left}"
            return {name: service.attempts(own_id)[-1] for name, own_id in ids.items()}

    def events(self, deployment_id: str) -> list[str]:
        """Return the kinds of what happened to a deployment."""
        with opened_storage(self.db) as (storage, logs):
            return [one.kind for one in Service(storage, logs, SystemClock()).events(deployment_id)]

    def lines(self, deployment_id: str) -> list[str]:
        """Return the output of a deployment."""
        with opened_storage(self.db) as (storage, logs):
            lines = Service(storage, logs, SystemClock()).log_lines(deployment_id)
            return [line.text for line in lines]
