"""Zip files for code packages: made whole or not at all, and read before they are sent."""

from __future__ import annotations

import os
import posixpath
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from reworker.task_errors import PackageInvalid

#: what is known by the end of a program's name.
RUNTIMES = {
    ".py": "python",
    ".sh": "sh",
    ".bash": "bash",
    ".js": "node",
    ".mjs": "node",
    ".cjs": "node",
    ".rb": "ruby",
    ".php": "php",
    ".pl": "perl",
    ".go": "go",
    ".jar": "java",
}


def runtime_of(file_name: str) -> str:
    """Return the runtime of a program; what is unknown is Python, as it was for the calls of 2012."""
    return RUNTIMES.get(posixpath.splitext(file_name)[1].lower(), "python")


def zip_files(files: Iterable[str], destination: str, *, base_dir: str = "") -> None:
    """Make a zip of files.

    Args:
        files: their paths; a relative one is kept below `base_dir`, of another the last part.
        destination: of the zip; what is there is replaced when the new one is whole.
        base_dir: put in front of each name inside the zip.

    Raises:
        PackageInvalid: a file cannot be read, or the zip not be written; nothing was changed.
    """
    members = [(_name_of(one, base_dir), Path(one)) for one in files]
    _write(destination, members)


def zip_folder(folder: str, destination: str) -> None:
    """Make a zip of all that is in a folder, named from there on. Raises as `zip_files`."""
    root = Path(folder)
    if not root.is_dir():
        raise PackageInvalid(f"{folder!r} is no folder")
    target = Path(destination).resolve()
    members = [
        (path.relative_to(root).as_posix(), path) for path in _files_of(root) if path.resolve() != target
    ]
    _write(destination, members)


def _files_of(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield from (Path(folder) / name for name in sorted(names))


def _name_of(file: str, base_dir: str) -> str:
    plain = posixpath.normpath(Path(file).as_posix())
    inside = posixpath.basename(plain) if plain.startswith(("/", "..")) else plain
    return posixpath.join(base_dir.strip("/"), inside)


def _write(destination: str, members: list[tuple[str, Path]]) -> None:
    if not members:
        raise PackageInvalid(f"there is no file for {destination!r}")
    names = [name for name, _ in members]
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if twice:
        raise PackageInvalid(f"two files would have the name {min(twice)!r} in {destination!r}")
    target = Path(destination)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".zip-") as folder:
            made = Path(folder) / "package.zip"
            _fill(made, members)
            made.replace(target)
    except (OSError, ValueError, zipfile.LargeZipFile) as error:
        raise PackageInvalid(f"{destination!r} cannot be made: {error}") from error


def _fill(path: Path, members: list[tuple[str, Path]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as made:
        for name, source in members:
            if not source.is_file():
                raise PackageInvalid(f"{str(source)!r} is no file")
            made.write(source, name)


def runtime_told_by(file_name: str) -> str:
    """Return the runtime that the end of a program's name tells.

    Raises:
        PackageInvalid: it tells none.
    """
    found = RUNTIMES.get(posixpath.splitext(file_name)[1].lower())
    if found is None:
        raise PackageInvalid(
            f"what runs {file_name!r}? Say it: runtime='python', 'sh', 'node', 'binary', ..."
        )
    return found


def require_entry(package: str, entry: str, *, called: str = "") -> None:
    """Let a zip pass that holds a program; in another folder only if no other has its name.

    Args:
        package: path of the zip.
        entry: of the program, in it.
        called: what errors call the zip, when it was made of something else.

    Raises:
        PackageInvalid: it does not, or is no zip.
    """
    try:
        with zipfile.ZipFile(package) as opened:
            names = [name for name in opened.namelist() if not name.endswith("/")]
    except (OSError, zipfile.BadZipFile) as error:
        raise PackageInvalid(f"{package!r} is no zip file that can be read: {error}") from error
    plain = posixpath.normpath(entry)
    alike = [name for name in names if posixpath.basename(name) == posixpath.basename(plain)]
    if plain not in names and len(alike) != 1:
        shown = ", ".join(sorted(names)[:10]) or "nothing"
        raise PackageInvalid(f"there is no {entry!r} in {(called or package)!r}; it holds {shown}")
