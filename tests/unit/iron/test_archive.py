"""Zips for code packages."""

from __future__ import annotations

import logging
import os
import zipfile
from pathlib import Path

import pytest

from reworker.iron import IronWorker, PackageInvalid
from reworker.iron.archive import require_entry, runtime_of, zip_files, zip_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "app"
    (made / "lib").mkdir(parents=True)
    (made / "main.py").write_text("print('hello')\n")
    (made / "lib" / "parts.py").write_text("")
    (made / "run.sh").write_text("#!/bin/sh\n")
    (made / "run.sh").chmod(0o755)
    return made


def names_in(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        return opened.namelist()


def test_zip_of_files_puts_the_base_directory_in_front_when_there_is_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    path = tmp_path / "made.zip"
    assert IronWorker.createZip(base_dir="", files=["main.py", "lib/parts.py"], destination=str(path))
    assert names_in(path) == ["main.py", "lib/parts.py"]
    assert IronWorker.createZip(base_dir="base", files=["main.py"], destination=str(path), overwrite=True)
    assert names_in(path) == ["base/main.py"]


def test_zip_of_files_takes_the_last_part_when_a_path_leads_elsewhere(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "made.zip"
    zip_files([str(folder / "main.py"), "../" * 40 + str(folder)[1:] + "/run.sh"], str(path))
    assert names_in(path) == ["main.py", "run.sh"]


def test_zip_of_files_is_made_when_the_arguments_stand_as_in_the_first_versions(
    folder: Path, tmp_path: Path
) -> None:
    path = str(tmp_path / "made.zip")
    assert IronWorker.createZip(path, "base", [str(folder / "main.py")], True)
    assert names_in(Path(path)) == ["base/main.py"]
    assert IronWorker.createZip("", [str(folder / "main.py")], path, True)
    assert names_in(Path(path)) == ["main.py"]


@pytest.mark.parametrize("spelling", ["absolute", "relative", "slash"])
def test_zip_of_a_folder_names_its_files_from_there_on_whatever_it_is_called(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"absolute": str(folder), "relative": "app", "slash": "./app/"}[spelling]
    assert IronWorker.zipDirectory(directory=given, destination="made.zip", overwrite=True)
    assert names_in(tmp_path / "made.zip") == ["main.py", "run.sh", "lib/parts.py"]


def test_zip_of_a_folder_leaves_itself_out_when_it_lies_in_it(folder: Path) -> None:
    for _ in range(2):
        assert IronWorker.zipDirectory(str(folder), str(folder / "made.zip"), overwrite=True)
    assert names_in(folder / "made.zip") == ["main.py", "run.sh", "lib/parts.py"]
    assert sorted(os.listdir(folder)) == ["lib", "made.zip", "main.py", "run.sh"]


def test_zip_keeps_rights_and_odd_times_of_files_when_it_is_made(folder: Path, tmp_path: Path) -> None:
    os.utime(folder / "run.sh", (0, 0))
    zip_folder(str(folder), str(tmp_path / "made.zip"))
    with zipfile.ZipFile(tmp_path / "made.zip") as opened:
        assert opened.getinfo("run.sh").external_attr >> 16 & 0o777 == 0o755


def test_zip_that_is_there_stays_when_it_is_not_to_be_overwritten(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "made.zip"
    path.write_text("old")
    assert not IronWorker.createZip(files=[str(folder / "main.py")], destination=str(path), overwrite=False)
    assert not IronWorker.zipDirectory(str(folder), str(path), False)
    assert path.read_text() == "old"
    assert "say overwrite=True" in caplog.text


@pytest.mark.parametrize("what", ["missing", "folder", "nothing", "twice", "no place"])
def test_zip_that_is_there_stays_when_the_new_one_cannot_be_made(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    main = str(folder / "main.py")
    (folder / "lib" / "main.py").touch()
    files = {
        "missing": [main, "no.py"],
        "folder": [str(folder)],
        "nothing": [],
        "twice": [main, str(folder / "lib" / "main.py")],
        "no place": [main],
    }[what]
    path = tmp_path / "made.zip" if what != "no place" else tmp_path / "gone" / "made.zip"
    if what != "no place":
        path.write_text("old")
    with caplog.at_level(logging.WARNING):
        assert not IronWorker.createZip(files=files, destination=str(path), overwrite=True)
    assert "no zip was created" in caplog.text
    assert what == "no place" or path.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["app", "made.zip"][: 1 if what == "no place" else 2]


def test_folder_that_is_none_gives_no_zip(tmp_path: Path) -> None:
    assert not IronWorker.zipDirectory(str(tmp_path / "gone"), str(tmp_path / "made.zip"))
    (tmp_path / "empty").mkdir()
    assert not IronWorker.zipDirectory(str(tmp_path / "empty"), str(tmp_path / "made.zip"))


def test_entry_is_found_when_it_is_the_only_one_of_its_name(folder: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "made.zip")
    zip_folder(str(folder), path)
    for entry in ("main.py", "./main.py", "app/main.py", "lib/parts.py", "parts.py"):
        require_entry(path, entry)
    with pytest.raises(PackageInvalid, match=r"there is no 'gone\.py' in .*; it holds lib/parts.py, main.py"):
        require_entry(path, "gone.py")


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_package_is_refused_when_it_is_no_zip(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "made.zip").write_bytes(content)
    with pytest.raises(PackageInvalid, match="is no zip file that can be read"):
        require_entry(str(tmp_path / "made.zip"), "main.py")


def test_runtime_is_told_by_the_ending_of_a_program() -> None:
    names = ["a.py", "b.SH", "__runner__.sh", "c.js", "d.rb", "e.php", "f.pl", "main"]
    assert [runtime_of(name) for name in names] == [
        "python",
        "sh",
        "sh",
        "node",
        "ruby",
        "php",
        "perl",
        "python",
    ]
