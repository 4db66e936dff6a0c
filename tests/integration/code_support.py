"""A code worker without a broker: a server that has packages, and tasks that are run by real processes."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from replugin.codeworker import CodeWorker
from reworker.messages import StepHeaders, headers_of_step
from reworker.testing import Transcript
from reworker.testing.harness import FakeDelivery, Harness
from tests.support.http_server import Answer, HttpServer

PROJECT, CODE, TASK = "b" * 24, "c" * 24, "a" * 24
DOWNLOAD = f"/2/projects/{PROJECT}/codes/{CODE}/download"


def package(files: Mapping[str, bytes | str]) -> bytes:
    """Return a zip file; names that end with ``*`` may be executed."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name.rstrip("*"))
            info.external_attr = (stat.S_IFREG | (0o755 if name.endswith("*") else 0o644)) << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return target.getvalue()


def step_body(content: bytes, file_name: str, **changes: Any) -> dict[str, Any]:
    """Return the message of a task, as the core sends it."""
    parameters = {
        "command": f"code.{CODE}",
        "subcommand": "Hello",
        "hosts": [""],
        "task_id": TASK,
        "project_id": PROJECT,
        "code_id": CODE,
        "code_name": "Hello",
        "revision_id": "d" * 24,
        "rev": 1,
        "digest": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        "runtime": "sh",
        "file_name": file_name,
        "payload": "",
        "config": "",
        "env_vars": {},
        "timeout_s": 30.0,
        "schedule_id": None,
        "token": "",
    }
    return {"group": "default", "parameters": {**parameters, **changes}, "dynamic": {}, "notify": {}}


class Bed:
    """A code worker, its folders, and the server that it fetches packages from."""

    def __init__(self, top: Path, server: HttpServer) -> None:
        self.top, self.server = top, server
        self._harness: Harness | None = None
        self._number = 0
        self.config: dict[str, Any] = {
            "server": server.url,
            "token": "letmein",
            "cache_dir": str(top / "cache"),
            "work_dir": str(top / "work"),
            "cancel_grace_s": 0.5,
            "download_timeout_s": 20,
        }

    @property
    def harness(self) -> Harness:
        """The worker, made when it is first used."""
        if self._harness is None:
            self._harness = Harness(CodeWorker, self.config)
        return self._harness

    def run(self, files: Mapping[str, bytes | str], file_name: str = "", **changes: Any) -> Transcript:
        """Upload a package and run its first file, or another one."""
        content = package(files)
        self.server.answers[DOWNLOAD] = Answer(body=content)
        return self.run_package(content, file_name or next(iter(files)).rstrip("*"), **changes)

    def run_package(self, content: bytes, file_name: str, **changes: Any) -> Transcript:
        """Run a file of a package that the server has."""
        return self.harness.run(self.delivery(content, file_name, **changes))

    def delivery(self, content: bytes, file_name: str, **changes: Any) -> FakeDelivery:
        """Return the message of a task."""
        headers = headers_of_step(StepHeaders())
        key = f"worker.code.{CODE}"
        self._number += 1
        return self.harness.delivery(
            step_body(content, file_name, **changes),
            routing_key=key,
            headers=headers,
            correlation_id=f"{self._number:024x}.1",
        )

    def shell(self, script: str, **changes: Any) -> Transcript:
        """Run a script of the shell."""
        return self.run({"main.sh": script}, **changes)

    def cancel(self) -> None:
        """Cancel the task that runs, as a control message does."""
        station = self.harness.station
        station.cancellations.add(station.current.correlation_id, "enough")
        station.current.cancel()

    def close(self) -> None:
        """End the worker."""
        if self._harness is not None:
            self._harness.worker.close()


def log_of(transcript: Transcript, stream: str = "") -> str:
    """Return what a task has written, to one stream or to both."""
    pieces = [json.loads(one.body) for one in transcript.sent if one.routing_key == "output"]
    return "".join(one["message"] for one in pieces if not stream or one.get("stream") == stream)
