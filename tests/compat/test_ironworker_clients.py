"""Public clients of IronWorker, unmodified, against the whole product."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path

from tests.conftest import require_server
from tests.support.iron_guides import block_with, guide
from tests.support.iron_site import NPM_FOLDER, IronSite, run, run_client, zipped

CLIENTS = Path(__file__).parent / "clients"
#: writes what it was given, and what it is told of itself.
HELLO = """\
import sys
payload = open(sys.argv[sys.argv.index("-payload") + 1]).read()
print("hello", payload)
"""
ID = re.compile(r"[0-9a-f]{24}")


def require_package(name: str) -> Path:
    """Return the place of a package of PyPI; skip the test without it, fail it in CI."""
    found = importlib.util.find_spec(name)
    require_server(f"{name} of PyPI", found is not None)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin)


def test_client_of_pypi_works_when_unmodified(iron_site: IronSite, tmp_path: Path) -> None:
    require_package("iron_worker")
    (tmp_path / "hello.py").write_text(HELLO)
    environment = iron_site.environment(tmp_path, "pypi")
    found = run_client(CLIENTS / "iron_worker_client.py", tmp_path, environment)
    assert ID.fullmatch(found["uploaded"][0])
    assert found["uploaded"][1:] == ["HelloWorld", 1]
    assert found["again"] == [True, 2, ["HelloWorld"]]
    status, name, label, payload, percent, duration = found["task"]
    assert (status, name, label, payload, percent) == (
        *("complete", "HelloWorld", "greeting"),
        *({"a": 1, "l": ["x", "ü"]}, 0),
    )
    assert duration.isdigit()
    assert found["log"] == found["stdout"] == 'hello {"a": 1, "l": ["x", "\\u00fc"]}\n'
    assert found["run"] == "hello plain text\n"
    assert found["bulk"] == [0, 1, 2]
    assert found["late"] == ["queued", 50, 2, 600, 60]
    assert found["retried"] == "Queued up"
    assert found["cancelled"] == [True, "cancelled"]
    assert found["lists"] == [["cancelled", "complete"], 2, [], True]
    assert found["schedule"] == ["scheduled", 3600, 8, True]
    assert found["schedules"] == [True]
    assert found["unscheduled"] == [True, "cancelled"]
    assert [status for status, _ in found["refused"]] == [404, 404, 401]
    assert "Nobody" in found["refused"][0][1]
    assert found["package"] == ["HelloWorld_1.zip", "PK\x03\x04"]
    assert "getheader" in found["download"]
    assert found["deleted"] == [True, []]


def test_other_client_of_pypi_works_when_unmodified(iron_site: IronSite, tmp_path: Path) -> None:
    place = require_package("ironworker").parent
    zipped(tmp_path / "hello.zip", {"hello.py": HELLO})
    environment = {**iron_site.environment(tmp_path, "pypi-2"), "PYTHONPATH": str(place)}
    found = run_client(CLIENTS / "ironworker_client.py", tmp_path, environment)
    assert found == {
        "uploaded": ["Upload successful.", "Hello"],
        "codes": [True],
        "revisions": [1],
        "task": ["Queued up", "complete", "greeting", '{"a": 1}'],
        "log": 'hello {"a": 1}\n',
        "tasks": [True],
        "stats": 1,
        "cancelled": ["Cancelled", "cancelled"],
        "package": True,
        "deleted": ["Deleted", []],
    }


def test_client_of_npm_works_when_unmodified(iron_site: IronSite, tmp_path: Path) -> None:
    require_server("Node", shutil.which("node") is not None)
    require_server("iron_worker of npm", (NPM_FOLDER / "node_modules" / "iron_worker").is_dir())
    runner = 'cd "$2"\nnode hello.js "$@"\n'
    hello = "console.log('hello', require('fs').readFileSync(process.env.PAYLOAD_FILE, 'utf8'));\n"
    zipped(tmp_path / "node.zip", {"__runner__.sh": runner, "hello.js": hello})
    environment = {**iron_site.environment(tmp_path, "npm"), "NODE_PATH": str(NPM_FOLDER / "node_modules")}
    found = run_client(CLIENTS / "node_client.js", tmp_path, environment)
    assert found == {
        "code": ["NodeHello", [True]],
        "revisions": [1],
        "task": ["complete", '{"a":1}', 1, "greeting"],
        "log": 'hello {"a":1}\n',
        "run": "hello plain text\n",
        "progress": "Progress set",
        "cancelled": ["Cancelled", "cancelled"],
        "late": [25, "a quarter"],
        "retried": 24,
        "cancelledAll": "Cancelled",
        "queued": [],
        "schedules": [True],
        "scheduled": 3600,
        "unscheduled": ["Cancelled", "cancelled"],
        "refused": found["refused"],
        "left": [],
    }
    assert all("Not found" in message for message in found["refused"])


def test_programs_of_the_go_guide_work_when_unmodified_through_a_proxy(
    iron_site: IronSite, tmp_path: Path
) -> None:
    text = guide("004")
    require_server("Go", shutil.which("go") is not None)
    client = iron_site.client("JpoAig")
    environment = {
        **iron_site.environment(tmp_path, "JpoAig"),
        **{"HTTP_PROXY": iron_site.url, "GO111MODULE": "off"},
    }
    (tmp_path / "config.json").write_text(f'{{"token": "{iron_site.token}", "project_id": "JpoAig"}}')
    (tmp_path / "upload.go").write_text(block_with(text, "go", "CreateFormFile"))
    (tmp_path / "enqueue.go").write_text(block_with(text, "go", "CodeName string"))
    (tmp_path / "worker.go").write_text(block_with(text, "go", "payloadIndex"))
    run("go", "build", "-o", "worker", "worker.go", folder=tmp_path, environment=environment)
    (tmp_path / "__runner__.sh").write_text(block_with(text, "bash", "root()"))
    files = [str(tmp_path / name) for name in ("worker", "__runner__.sh")]
    assert client.createZip(files=files, destination=str(tmp_path / "worker.zip"))

    uploaded = run("go", "run", "upload.go", folder=tmp_path, environment=environment).stdout
    assert json.loads(uploaded).items() >= {"msg": "Upload successful.", "status_code": 200}.items()
    queued = json.loads(run("go", "run", "enqueue.go", folder=tmp_path, environment=environment).stdout)
    assert queued.items() >= {"msg": "Queued up", "status_code": 200}.items()
    task = client.wait(queued["tasks"][0]["id"], timeout_s=60)
    assert (task.status, task.code_name) == ("complete", "GoWorker")
    assert client.log(task) == "map[another_arg:[apples oranges] arg1:Test]\n"
