"""The getting-started guides of IronWorker, followed word for word, with their prints changed for Python 3.

Their text is not ours and stands in no file here: it is read from the reference folder beside the checkout.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from reworker.iron import IronWorker
from tests.conftest import require_server
from tests.support.iron_guides import (
    block_with,
    filled_in,
    for_python_3,
    guide,
    printed_blocks,
    sequence,
    sequence_in,
)
from tests.support.iron_site import IronSite, run
from tests.support.waiting import wait_until

#: the guide's worker in other languages: its limit from the payload file, its result between the separators.
PHP_WORKER = """\
<?php
$place = array_search("-payload", $argv);
$payload = json_decode(file_get_contents($argv[$place + 1]), true);
$values = [];
for ([$last, $next] = [0, 1]; $next < $payload["max"]; [$last, $next] = [$next, $last + $next])
    $values[] = $next;
echo "MAGICALSTDOUTSEPARATOR", json_encode($values), "MAGICALSTDOUTSEPARATOR\\n";
"""
SHELL_WORKER = """\
max=$(sed 's/[^0-9]//g' "$PAYLOAD_FILE")
last=0 next=1 values=""
while [ "$next" -lt "$max" ]; do
    values="$values${values:+, }$next"
    new=$((last + next))
    last=$next next=$new
done
echo "MAGICALSTDOUTSEPARATOR[$values]MAGICALSTDOUTSEPARATOR"
"""
GO_WORKER = """\
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	payload := struct{ Max int }{}
	for index, word := range os.Args {
		if word == "-payload" {
			raw, _ := os.ReadFile(os.Args[index+1])
			json.Unmarshal(raw, &payload)
		}
	}
	values := []int{}
	for last, next := 0, 1; next < payload.Max; last, next = next, last+next {
		values = append(values, next)
	}
	result, _ := json.Marshal(values)
	fmt.Printf("MAGICALSTDOUTSEPARATOR%sMAGICALSTDOUTSEPARATOR\\n", result)
}
"""


class Reader:
    """Somebody with the Python guide, in a folder of their own.

    Args:
        folder: for their files.
        site: with the server.
        way: how they get the library: as the file ``iron_worker.py`` beside the scripts, or ``python -m``.
    """

    def __init__(self, folder: Path, site: IronSite, way: str) -> None:
        self.text, self.folder, self.site, self.way = guide("000"), folder, site, way
        self.project = f"guide {way}"
        self.environment = site.environment(folder, self.project)
        for name in ("IRON_TOKEN", "IRON_PROJECT_ID"):  # these are in the scripts
            del self.environment[name]
        if way == "file":
            (folder / "iron_worker.py").write_text("from reworker.iron import *\n")

    def save(self, name: str, *words: str, language: str = "python", head: str = "") -> None:
        """Save the block with these words, with token and project filled in."""
        block = head + for_python_3(block_with(self.text, language, *words))
        (self.folder / name).write_text(filled_in(block, self.site.token, self.project))

    def type(self, name: str, *arguments: str) -> str:
        """Run a script of the guide, and return what it prints."""
        before = ("-m", "reworker.iron") if self.way == "module" else ()
        return run(
            *(sys.executable, *before, name, *arguments), folder=self.folder, environment=self.environment
        ).stdout


@pytest.mark.parametrize("way", ["file", "module"])
def test_python_guide_ends_with_the_sequence_when_followed(
    iron_site: IronSite, tmp_path: Path, way: str
) -> None:
    reader = Reader(tmp_path, iron_site, way)
    # Writing the script
    reader.save("fibonacci.py", "Calculates the Fibonacci sequence")
    here = run(sys.executable, "fibonacci.py", folder=tmp_path, environment=reader.environment)
    assert sequence_in(here.stdout) == sequence(100)
    payload = re.findall(r"^`(\{.+\})`$", reader.text, re.MULTILINE)[0]
    (tmp_path / "payload.json").write_text(payload)
    command = ("fibonacci.py", "-payload=payload.json")
    here = run(sys.executable, *command, folder=tmp_path, environment=reader.environment)
    assert sequence_in(here.stdout) == sequence(100000)
    (tmp_path / "payload.json").unlink()
    # Uploading to IronWorker
    reader.save("upload.py", "createZip(files=", "print res")
    uploaded = ast.literal_eval(reader.type("upload.py"))
    shown = json.loads(block_with(reader.text, "javascript", "Upload successful."))
    assert uploaded.items() >= shown.items()
    with zipfile.ZipFile(tmp_path / "FibWorker.zip") as package:
        assert package.namelist() == ["fibonacci.py"]
    # Running a worker; the guide forgets a line of this script
    reader.save(
        "run.py", "Runs a FibWorker task", head="from iron_worker import *\n" if way == "file" else ""
    )
    task = ast.literal_eval(reader.type("run.py", "--max=9000"))["tasks"][0]["id"]
    # Checking the status of the worker
    reader.save("checkTask.py", "Checks the status")
    wait_until(lambda: reader.type("checkTask.py", f"--task={task}") == "Task is complete.\n", 60, poll_s=0.2)
    reader.save("getLog.py", "Gets the log")
    assert json.loads(reader.type("getLog.py", f"--task={task}")) == sequence(9000)


def test_calls_between_the_scripts_of_the_guide_work_when_they_are_put_in_a_row(
    iron_site: IronSite, tmp_path: Path
) -> None:
    reader = Reader(tmp_path, iron_site, "module")
    reader.save("fibonacci.py", "Calculates the Fibonacci sequence")
    reader.save("config.ini", "[iron_worker]", language="ini")
    calls = [block for block in printed_blocks(reader.text, "python") if "import" not in block]
    config, arguments, folder, files, upload, queue, details, log = calls
    (tmp_path / "app").mkdir()
    shutil.copy(tmp_path / "fibonacci.py", tmp_path / "app")
    row = [
        filled_in(arguments, iron_site.token, reader.project),
        config,
        folder.replace("/path/to/directory", str(tmp_path / "app")),
        "by_folder = zipFile, worker.postCode('fibonacci.py', 'fileNameForZip.zip', 'ByFolder')\n",
        files,
        upload,
        "payload = {'max': 50}\n",
        queue.replace("WorkerName", "FibWorker"),
        "worker.wait(task['tasks'][0]['id'], timeout_s=60)\n",
        details,
        log,
        "print([by_folder[0], zipFile, response['msg'], status, log])\n",
    ]
    (tmp_path / "row.py").write_text("".join(row))
    by_folder, by_files, msg, status, text = ast.literal_eval(reader.type("row.py"))
    assert (by_folder, by_files, msg, status) == (True, True, "Upload successful.", "complete")
    assert sequence_in(text) == sequence(50)


def test_zip_that_is_there_is_left_alone_when_the_guide_says_so(tmp_path: Path) -> None:
    text = guide("000")
    assert "If false and fileNameForZip.zip already exists, the packager will do nothing." in text
    (tmp_path / "fibonacci.py").touch()
    (tmp_path / "made.zip").write_text("old")
    given = {"files": [str(tmp_path / "fibonacci.py")], "destination": str(tmp_path / "made.zip")}
    assert not IronWorker.createZip(base_dir="", **given, overwrite=False)
    assert (tmp_path / "made.zip").read_text() == "old"
    assert IronWorker.createZip(base_dir="", **given, overwrite=True)


@pytest.mark.parametrize("language", ["php", "sh", "go"])
def test_guide_for_any_language_ends_with_the_sequence_when_followed(
    iron_site: IronSite, tmp_path: Path, language: str
) -> None:
    text = guide("001")
    payload = json.loads(block_with(text, "js", "max"))
    environment = iron_site.environment(tmp_path)
    if language == "go":
        require_server("Go", shutil.which("go") is not None)
        (tmp_path / "worker.go").write_text(GO_WORKER)
        environment |= {"GO111MODULE": "off"}
        run("go", "build", "-o", "worker", "worker.go", folder=tmp_path, environment=environment)
        (tmp_path / "__runner__.sh").write_text(block_with(guide("004"), "bash", "root()"))
        files, entry = ["worker", "__runner__.sh"], "__runner__.sh"
    else:
        require_server("PHP", language != "php" or shutil.which("php") is not None)
        entry = f"fibonacci.{language}"
        (tmp_path / entry).write_text({"php": PHP_WORKER, "sh": SHELL_WORKER}[language])
        files = [entry]
    client = iron_site.client(f"guide {language}")
    package = str(tmp_path / "worker.zip")
    assert client.createZip("", [str(tmp_path / name) for name in files], package, True)
    assert client.postCode(entry, package, "FibWorker")["msg"] == "Upload successful."
    task = client.postTask("FibWorker", payload)["tasks"][0]["id"]
    client.wait(task, timeout_s=60)
    assert client.getTaskDetails(task)["status"] == "complete", client.getLog(task)
    assert sequence_in(client.getLog(task)) == sequence(1000)
