"""The container file, built and run for real: minutes and a gigabyte, so only `make test-all` does it.

Where the registry of the base image is out of reach, a small Debian with its Python stands in for it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.integration.worker_support import FakeCore
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
FILE = ROOT / "conf" / "Containerfile"
IMAGE = "localhost/reworker-test"
#: what pip needs to get packages inside as it does here: its settings, and whom it trusts.
LENT = ("/etc/pip.conf", "/etc/xdg/pip", "/etc/ssl/certs", "/usr/share/ca-certificates")
STAND_IN = "python3,python3-venv,ca-certificates"
#: seconds that building takes at most; pulling may hang.
BUILD_S, PULL_S = 900.0, 60.0
#: which user runs in it, and how long the step takes that runs when it is told to stop.
USER, STEP_S = 10001, 2

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not os.environ.get("REWORKER_IMAGE"), reason="make test-all builds the image"),
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("buildah"), reason="needs root, and buildah of Debian's package"
    ),
]


class Buildah:
    """The builder, with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.words = ("buildah", "--root", str(folder / "store"), "--runroot", str(folder / "run"))

    def __call__(self, *words: str, timeout_s: float = BUILD_S) -> str:
        """Run a command; return what it prints."""
        done = subprocess.run(
            [*self.words, *words], capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stderr[-3000:]}"
        return done.stdout.strip()


def lent() -> list[str]:
    return [word for one in LENT if Path(one).exists() for word in ("--volume", f"{one}:{one}:ro")]


def add_base(buildah: Buildah, folder: Path) -> None:
    """Get the base image; make one of the same name where it cannot be had."""
    (name,) = set(re.findall(r"^FROM (\S+)", FILE.read_text(), re.MULTILINE))
    full = f"docker.io/library/{name}"
    try:
        buildah("pull", full, timeout_s=PULL_S)
    except (AssertionError, subprocess.TimeoutExpired):
        tree = folder / "debian"
        suite = re.findall(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)[0]
        command = ["debootstrap", "--variant=minbase", f"--include={STAND_IN}", suite, str(tree)]
        subprocess.run(command, check=True, capture_output=True, timeout=BUILD_S)
        (tree / "usr" / "local" / "bin" / "python").symlink_to("/usr/bin/python3")
        made = buildah("from", "scratch")
        buildah("add", "--quiet", made, str(tree), "/")
        buildah("config", "--env", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", made)
        buildah("commit", "--quiet", made, full)
        shutil.rmtree(tree)


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    folder = tmp_path_factory.mktemp("image")
    made = Buildah(folder)
    add_base(made, folder)
    options = ("--isolation", "chroot", "--network", "host", "--format", "docker", "--pull-never", *lent())
    made("build", *options, "--file", str(FILE), "--tag", IMAGE, str(ROOT))
    yield made
    made("rm", "--all")
    made("rmi", "--all", "--force")


@pytest.fixture
def container(buildah: Buildah) -> Iterator[str]:
    name = buildah("from", "--pull-never", IMAGE)
    yield name
    buildah("rm", name)


def config_of(buildah: Buildah) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]["config"]
    return found


def test_image_says_how_it_is_run(buildah: Buildah) -> None:
    found = config_of(buildah)
    assert (found["User"], found["StopSignal"], found["Entrypoint"]) == (str(USER), "SIGTERM", ["reworker"])
    assert found["Healthcheck"]["Test"][0] == "CMD"
    assert "9100/tcp" in found["ExposedPorts"]


def status_of(url: str) -> int:
    try:
        with urlopen(url, timeout=2) as answer:
            return int(answer.status)
    except OSError:
        return 0


def process_of(words: str, user: int) -> int:
    """Return the first process of this user with these words in its command line, as it is seen from here."""
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda one: int(one.name)):
        try:
            command = (folder / "cmdline").read_text().replace("\0", " ")
            is_ours = folder.stat().st_uid == user and re.match(r"\S*/python\S* ", command)
        except OSError:
            continue
        if is_ours and words in command:
            return int(folder.name)
    return 0


def test_host_in_the_image_tells_its_health_and_drains_when_told_to_stop(
    buildah: Buildah,
    container: str,
    process: Callable[..., Process],
    broker_url: str,
    tmp_path: Path,
) -> None:
    (tmp_path / "host.yaml").write_text(json.dumps({"mq": broker_url, "workers": ["noop", "sleep"]}))
    tmp_path.chmod(0o755)  # whoever runs in the image may read it
    address = f"127.0.0.1:{free_port()}"
    volume = ("--isolation", "chroot", "--volume", f"{tmp_path}:/etc/reworker:ro")
    command = ("reworker", "host", "-c", "/etc/reworker/host.yaml", "--health", address)
    run = process(command=[*buildah.words, "run", *volume, container, "--", *command])
    url = f"http://{address}/readyz"
    wait_until(lambda: status_of(url) == 200 or not run.is_running, 60, "the host to be ready")
    assert run.is_running, run.output
    assert status_of(f"http://{address}/healthz") == 200
    with FakeCore(broker_url) as core:
        attempt = core.send(1, key="worker.sleep", subcommand="Seconds", seconds=STEP_S)
        core.wait(attempt, "started")
        os.kill(process_of(address, USER), signal.SIGTERM)
        wait_until(lambda: core.statuses(attempt)[-1] == "completed", 30, "the step to be done")
    assert run.wait(30) == 0, run.output
    assert "stopping: no new work" in run.output
    assert [line for line in run.output.splitlines() if not line.startswith("{")] == [], "all lines are JSON"


def test_image_says_what_is_wrong_when_its_settings_are_missing(
    buildah: Buildah, container: str, process: Callable[..., Process]
) -> None:
    words = ("run", "--isolation", "chroot", container, "--", "reworker", "host", "-c", "/etc/no.yaml")
    run = process(command=[*buildah.words, *words])
    assert run.wait(60) == 2
    assert "/etc/no.yaml: cannot be read" in run.output
