import zipfile

import pytest

from reworker.cli.packing import RUNTIME_BY_END, packed, pieces
from reworker.cli.sent_form import SentForm
from reworker.codes.runtimes import COMMANDS
from reworker.core.tasks.requests import RUNTIMES
from reworker.errors import ConfigError
from reworker.web.multipart import MultipartForm


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "mail"
    made.mkdir()
    return made


def described(path, **said):
    found = packed(str(path), **said)
    with found.file:
        return found.name, found.file_name, found.runtime, found.guessed


def test_folder_is_packed_without_what_is_no_code(folder):
    for name in ("main.py", "lib/a.py", "__pycache__/main.pyc", ".git/config", "old.pyc", "lib/data.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    (folder / "main.py").chmod(0o755)
    found = packed(str(folder))
    with found.file, zipfile.ZipFile(found.file) as package:
        assert package.namelist() == ["main.py", "lib/a.py", "lib/data.txt"]
        assert package.getinfo("main.py").external_attr >> 16 == 0o100755
        assert package.read("lib/data.txt") == b"lib/data.txt"
    assert (found.name, found.file_name, found.runtime, found.file_count) == ("mail", "main.py", "python", 3)


def test_same_files_are_the_same_bytes(folder):
    (folder / "a.sh").write_text("echo 1\n")
    first, second = packed(str(folder)), packed(str(folder))
    assert b"".join(pieces(first.file)) == b"".join(pieces(second.file))
    first.file.close()
    second.file.close()


@pytest.mark.parametrize(
    ("name", "text", "runtime"),
    [
        ("a.py", "", "python"),
        ("a.sh", "", "sh"),
        ("a.mjs", "", "node"),
        ("a.rb", "", "ruby"),
        ("a.php", "", "php"),
        ("a.pl", "", "perl"),
        ("a.go", "", "go"),
        ("a", "#!/usr/bin/env python3.11\n", "python"),
        ("a", "#!/bin/bash -e\n", "bash"),
        ("a", "#!/bin/sh\n", "sh"),
        ("a.bash", "", "bash"),
        ("a", "#!/usr/bin/node\n", "node"),
        ("a", "\x7fELF...", "binary"),
    ],
)
def test_runtime_is_guessed_from_the_file(tmp_path, name, text, runtime):
    (tmp_path / name).write_text(text)
    assert described(tmp_path / name) == ("a", name, runtime, f"runs {name} with {runtime}")


def test_runtimes_are_those_of_the_code_worker():
    assert set(RUNTIMES) == set(COMMANDS)
    assert set(RUNTIME_BY_END.values()) <= set(RUNTIMES)


def test_nothing_is_guessed_when_all_is_said(folder):
    (folder / "x").write_text("")
    assert described(folder, name="n", file_name="x", runtime="perl") == ("n", "x", "perl", "")
    assert described(folder, file_name="x", runtime="perl")[3] == ""
    assert described(folder, runtime="perl")[3] == "runs x"


@pytest.mark.parametrize(
    ("names", "entry"),
    [
        (("main.py", "util.py"), "main.py"),
        (("mail.py", "main.py"), "mail.py"),
        (("run.sh", "README.md"), "run.sh"),
        (("index.js", "package.json", "app.js"), "index.js"),
        (("worker.rb", "helper.rb"), "worker.rb"),
    ],
)
def test_file_to_run_is_guessed_by_its_name(folder, names, entry):
    for name in names:
        (folder / name).write_text("")
    assert described(folder)[1] == entry


@pytest.mark.parametrize(
    ("names", "said", "reason"),
    [
        (("a.py", "b.py"), {}, "which file is run? Say --file"),
        (("main.py", "main.sh"), {}, "which file is run?"),
        (("a.txt",), {}, "what runs a.txt? Say --runtime"),
        (("a.py",), {"file_name": "b.py"}, "it has 'a.py'"),
        ((), {}, "there is no file in the folder"),
    ],
)
def test_what_cannot_be_guessed_is_asked_for(folder, names, said, reason):
    for name in names:
        (folder / name).write_text("")
    with pytest.raises(ConfigError) as caught:
        packed(str(folder), **said)
    assert reason in str(caught.value)


def test_runtime_that_is_said_helps_to_find_the_file(folder):
    for name in ("main.py", "main.sh"):
        (folder / name).write_text("")
    assert described(folder, runtime="sh")[1] == "main.sh"


def test_zip_is_taken_as_it_is(tmp_path):
    place = tmp_path / "mail.zip"
    with zipfile.ZipFile(place, "w") as package:
        package.writestr("run", "#!/usr/bin/perl\n")
        package.writestr("lib/", "")
    found = packed(str(place))
    with found.file:
        assert b"".join(pieces(found.file)) == place.read_bytes()
    assert (found.name, found.file_name, found.runtime, found.size_bytes) == (
        "mail",
        "run",
        "perl",
        place.stat().st_size,
    )


def test_path_of_nothing_is_said(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        packed(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("has_file", [True, False])
def test_form_that_is_sent_is_the_one_that_is_read(tmp_path, has_file):
    (tmp_path / "f").write_bytes(bytes(range(256)) * 1000)
    with (tmp_path / "f").open("rb") as file:
        form = SentForm({"name": "ü"}, file if has_file else None)
        body = b"".join(form)
    assert len(body) == form.size_bytes
    read = MultipartForm(form.content_type)
    read.feed(body)
    read.end()
    assert read.part("data").text() == '{"name": "\\u00fc"}'
    assert (read.part("file").file.read() if has_file else None) == (
        (tmp_path / "f").read_bytes() if has_file else None
    )
    read.close()


def test_file_that_is_alone_is_run_by_what_is_said_whatever_its_name_says(tmp_path):
    (tmp_path / "old.sh").write_text("")
    assert described(tmp_path / "old.sh", runtime="python") == ("old", "old.sh", "python", "runs old.sh")


def test_zip_that_is_none_is_not_taken_for_a_program(tmp_path):
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(ConfigError, match=r"cut\.zip is no zip file"):
        packed(str(tmp_path / "cut.zip"), runtime="sh")
