"""Plugins of others beside ours: `replugin` is a regular package in each of several folders."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

OTHER = "from reworker.worker import Worker\nclass OtherWorker(Worker):\n    pass\n"


def other_folder(tmp_path: Path, name: str = "other") -> Path:
    folder = tmp_path / name
    (folder / "replugin" / f"{name}worker").mkdir(parents=True)
    (folder / "replugin" / "__init__.py").write_text("", encoding="utf-8")
    (folder / "replugin" / f"{name}worker" / "__init__.py").write_text(OTHER, encoding="utf-8")
    return folder


def imported(statements: str, *paths: Path | str, options: tuple[str, ...] = ()) -> str:
    """Run Python with these folders first on sys.path, away from the checkout."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    result = subprocess.run(
        [sys.executable, *options, "-c", statements],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return result.stdout + result.stderr


BOTH = "import {}, {}; print('both')"
OURS, THEIRS = "replugin.noopworker", "replugin.otherworker"


@pytest.mark.parametrize("is_ours_first", [True, False])
def test_both_plugins_are_found_when_they_are_in_two_folders(tmp_path: Path, is_ours_first: bool) -> None:
    folders = [ROOT, other_folder(tmp_path)]
    names = [OURS, THEIRS]
    if not is_ours_first:
        folders.reverse()
        names.reverse()
    assert imported(BOTH.format(*names), *folders) == "both\n"


@pytest.mark.parametrize("name", [OURS, THEIRS])
@pytest.mark.parametrize("is_ours_first", [True, False])
def test_any_plugin_is_found_when_reworker_was_imported_before(
    tmp_path: Path, name: str, is_ours_first: bool
) -> None:
    folders = [ROOT, other_folder(tmp_path)]
    assert imported(
        f"import reworker.worker, {name}; print('both')", *(folders if is_ours_first else folders[::-1])
    ) == ("both\n")


def test_both_plugins_are_found_when_they_are_in_one_folder(tmp_path: Path) -> None:
    site = other_folder(tmp_path)
    (site / "replugin" / "noopworker").symlink_to(ROOT / "replugin" / "noopworker")
    (site / "reworker").symlink_to(ROOT / "reworker")
    assert imported(BOTH.format(THEIRS, OURS), site) == "both\n"
    (site / "replugin" / "__init__.py").unlink()
    assert imported(BOTH.format(OURS, THEIRS), site) == "both\n"


EDITABLE = """
import importlib.machinery, importlib.util, sys
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "replugin":
            return importlib.util.spec_from_file_location(
                name, {init!r}, submodule_search_locations=[{folder!r}])
sys.meta_path.append(Finder)
"""


@pytest.mark.parametrize("is_ours_editable", [True, False])
def test_both_plugins_are_found_when_one_is_installed_editable(
    tmp_path: Path, is_ours_editable: bool
) -> None:
    """An editable install of setuptools is a finder at the end of `sys.meta_path`, as this one."""
    other = other_folder(tmp_path)
    site = tmp_path / "site"
    site.mkdir()
    (site / "reworker").symlink_to(ROOT / "reworker")
    on_path, found = (other, ROOT) if is_ours_editable else (ROOT, other)
    folder = str(found / "replugin")
    finder = EDITABLE.format(init=f"{folder}/__init__.py", folder=folder)
    first, second = (THEIRS, OURS) if is_ours_editable else (OURS, THEIRS)
    paths = (on_path, site, sysconfig.get_path("purelib"))
    assert imported(finder + BOTH.format(first, second), *paths, options=("-S",)) == "both\n"


def test_library_works_without_bundled_plugins_when_they_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "reworker").symlink_to(ROOT / "reworker")
    paths = (tmp_path, sysconfig.get_path("purelib"))
    assert imported("import reworker.worker; print('fine')", *paths, options=("-S",)) == "fine\n"
