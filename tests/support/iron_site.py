"""The whole product with a code worker, for clients of IronWorker: real processes, real sockets."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from reworker.core.principal import Scope
from reworker.iron import IronWorker
from tests.support.up import Up

#: what a client of IronWorker does with a token.
SCOPES = (Scope.READ, Scope.RUN, Scope.CANCEL, Scope.PLAYBOOK_WRITE)
#: where tests/services.sh puts what comes from npm.
NPM_FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reworker" / "npm"
#: tasks at once.
SLOT_COUNT = 4
#: seconds that a program of a client may take.
PROGRAM_S = 60.0


class IronSite:
    """`reworker up`, which runs tasks, and a token; until closed.

    Args:
        folder: for their state.
    """

    def __init__(self, folder: Path) -> None:
        self.up = Up(folder, "--code-slots", str(SLOT_COUNT))
        self.token = self.up.token(*SCOPES)
        self.url = self.up.url

    def client(self, project: str = "default") -> IronWorker:
        """Return a client of ours, on a project that is made when it is not there."""
        client = IronWorker(token=self.token, project_id=project, cloud=self.url)
        client.add_project(project)
        return client

    def environment(self, folder: Path, project: str = "default") -> dict[str, str]:
        """Return the variables with which public clients find the server; `folder` is the home."""
        parts = urlsplit(self.url)
        self.client(project)
        return {
            "IRON_TOKEN": self.token,
            "IRON_PROJECT_ID": project,
            "IRON_HOST": str(parts.hostname),
            "IRON_PORT": str(parts.port),
            "IRON_PROTOCOL": parts.scheme,
            "IRON_SCHEME": parts.scheme,
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
        }

    def send(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send a request as these bytes; return (status, headers in lower case, body) of the answer."""
        place = urlsplit(self.url)
        with socket.create_connection((str(place.hostname), place.port or 80), timeout=PROGRAM_S) as opened:
            opened.sendall(request)
            answer = http.client.HTTPResponse(opened)
            answer.begin()
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return answer.status, headers, answer.read()

    def close(self) -> None:
        """End all of it."""
        self.up.close()


def run(
    *command: str | Path, folder: Path, environment: dict[str, str], exit_code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, which has to be this one."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PROGRAM_S,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == exit_code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def run_client(script: Path, folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Run a client's program; return the JSON that it prints at its end."""
    interpreter = {".py": sys.executable, ".js": shutil.which("node") or "node"}[script.suffix]
    done = run(interpreter, script, folder=folder, environment=environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def zipped(path: Path, files: dict[str, str]) -> bytes:
    """Make a zip of files with these texts; return its bytes."""
    with zipfile.ZipFile(path, "w") as made:
        for name, text in files.items():
            made.writestr(name, text)
    return path.read_bytes()
