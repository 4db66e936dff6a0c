"""From what a person has on the disk, a file, a folder or a zip, to a code package; and what runs in it.

The same files give the same bytes, so that workers need not fetch what they have.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from reworker.codes.runtimes import SUFFIXES
from reworker.core.tasks.requests import RUNTIMES
from reworker.errors import ConfigError

#: what a folder holds beside its code: by a name, or by how a name ends.
LEFT_OUT_NAMES = frozenset({".git", ".hg", ".svn", "__pycache__", ".venv", ".mypy_cache", ".pytest_cache"})
LEFT_OUT_ENDS = (".pyc", ".pyo", "~")
#: end of a file's name -> runtime.
RUNTIME_BY_END = {f".{end}": runtime for end, runtime in SUFFIXES.items()}
#: word of a file's first line -> runtime.
_RUNTIME_BY_WORD = {
    **{"python": "python", "node": "node", "ruby": "ruby", "php": "php", "perl": "perl"},
    **{"bash": "bash", "dash": "sh", "sh": "sh"},
}
#: how the file that is run is mostly called, the likeliest first, without its end.
_ENTRY_STEMS = ("__main__", "main", "worker", "task", "run", "start", "index", "app")
_ELF = b"\x7fELF"
#: bytes of a file's beginning that are looked at.
_HEAD_BYTES = 200
#: names that an error lists.
_LISTED_COUNT = 10
#: of all files in a package that we make; the earliest that a zip can tell.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


class Packed(NamedTuple):
    """A package, and what runs in it.

    Args:
        name: for the code.
        file_name: that is run.
        runtime: that runs it.
        guessed: what nobody has said, in words; empty when everything was said.
        file: of the package, to be read from its beginning; the caller closes it.
        size_bytes: of the package.
        file_count: of the files in it.
    """

    name: str
    file_name: str
    runtime: str
    guessed: str
    file: IO[bytes]
    size_bytes: int
    file_count: int


def packed(path: str, *, name: str = "", file_name: str = "", runtime: str = "") -> Packed:
    """Return the package of a file, a folder or a zip.

    Args:
        path: of it.
        name: of the code; empty is that of the file or folder.
        file_name: that is run; empty is to be guessed.
        runtime: that runs it; empty is to be guessed.

    Raises:
        ConfigError: there is nothing at this path, or what is run cannot be guessed.
    """
    place = Path(path)
    try:
        if place.is_dir():
            file, names = _zipped(place, _files_below(place))
        elif zipfile.is_zipfile(place):
            file = place.open("rb")
            names = _names_in(file)
        elif place.suffix.lower() == ".zip" and place.is_file():
            raise ConfigError(f"{path} is no zip file; it may not be whole", key="PATH")
        else:
            file, names = _zipped(place.parent, [place])
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}", key="PATH") from error
    try:
        own = name or (place.resolve().name if place.is_dir() else place.stem)
        return _described(file, names, own, file_name, runtime)
    except BaseException:
        file.close()
        raise


def _described(file: IO[bytes], names: list[str], name: str, file_name: str, runtime: str) -> Packed:
    entry = file_name or _entry_of(names, name, runtime)
    if entry not in names:
        raise ConfigError(f"there is no file {entry!r} in the package; it has {_listed(names)}", key="--file")
    found = runtime or _runtime_of(file, entry)
    guessed = [f"runs {entry}"] if not file_name else []
    guessed += [f"with {found}" if guessed else f"runs {entry} with {found}"] if not runtime else []
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    return Packed(name, entry, found, " ".join(guessed), file, size_bytes, len(names))


def _files_below(folder: Path) -> list[Path]:
    """Return the files of a folder, in an order that does not change; not those in folders behind links."""
    found: list[Path] = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if one not in LEFT_OUT_NAMES)
        paths = [Path(root, name) for name in sorted(names) if not _is_left_out(name)]
        found += [one for one in paths if stat.S_ISREG(one.stat().st_mode)]
    if not found:
        raise ConfigError(f"there is no file in the folder {folder}", key="PATH")
    return found


def _is_left_out(name: str) -> bool:
    return name in LEFT_OUT_NAMES or name.endswith(LEFT_OUT_ENDS)


def _zipped(folder: Path, files: Sequence[Path]) -> tuple[IO[bytes], list[str]]:
    """Return a zip of files and their names in it, with who may execute them."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # it is for the caller
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as package:
            for one in files:
                _add(package, one, one.relative_to(folder).as_posix())
            return file, package.namelist()
    except BaseException:
        file.close()
        raise


def _add(package: zipfile.ZipFile, path: Path, name: str) -> None:
    info = zipfile.ZipInfo(name, _ZIP_TIME)
    info.external_attr = (stat.S_IFREG | (path.stat().st_mode & 0o777)) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    with path.open("rb") as source, package.open(info, "w", force_zip64=True) as target:
        shutil.copyfileobj(source, target)


def _names_in(file: IO[bytes]) -> list[str]:
    try:
        with zipfile.ZipFile(file) as package:
            return [one.filename for one in package.infolist() if not one.is_dir()]
    except (zipfile.BadZipFile, ValueError, UnicodeError) as error:
        raise ConfigError(f"this zip file cannot be read: {error}", key="PATH") from error


def _entry_of(names: Sequence[str], name: str, runtime: str) -> str:
    """Return the file that is most likely run.

    Raises:
        ConfigError: none stands out.
    """
    if not names:
        raise ConfigError("there is no file in this zip", key="PATH")
    at_top = [one for one in names if "/" not in one]
    if len(at_top) == len(names) == 1:
        return at_top[0]
    fitting = [
        one for one in at_top if not runtime or RUNTIME_BY_END.get(Path(one).suffix, runtime) == runtime
    ]
    if len(fitting) == 1:
        return fitting[0]
    runnable = [one for one in fitting if Path(one).suffix in RUNTIME_BY_END]
    if len(runnable) == 1:
        return runnable[0]
    for stem in (name, *_ENTRY_STEMS):
        found = [one for one in runnable if Path(one).stem == stem]
        if len(found) == 1:
            return found[0]
    raise ConfigError(
        f"which file is run? Say --file NAME; there are {_listed(at_top or names)}", key="--file"
    )


def _runtime_of(file: IO[bytes], entry: str) -> str:
    """Return what most likely runs a file: by its name, else by how it begins.

    Raises:
        ConfigError: nothing tells.
    """
    by_end = RUNTIME_BY_END.get(Path(entry).suffix)
    found = by_end or _runtime_by_head(_head_of(file, entry))
    if not found:
        reason = f"what runs {entry}? Say --runtime, one of {', '.join(RUNTIMES)}"
        raise ConfigError(reason, key="--runtime")
    return found


def _head_of(file: IO[bytes], entry: str) -> bytes:
    try:
        with zipfile.ZipFile(file) as package, package.open(entry) as member:
            return member.read(_HEAD_BYTES)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError, OSError) as error:
        raise ConfigError(f"{entry} cannot be read in the zip file: {error}", key="PATH") from error


def _runtime_by_head(head: bytes) -> str:
    if head.startswith(_ELF):
        return "binary"
    line = head.split(b"\n", 1)[0].decode("utf-8", "replace")
    if not line.startswith("#!"):
        return ""
    words = [Path(one).name.rstrip("0123456789.") for one in line[2:].split()]
    return next((_RUNTIME_BY_WORD[one] for one in words if one in _RUNTIME_BY_WORD), "")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED_COUNT} more" if len(names) > _LISTED_COUNT else ""
    return f"{', '.join(repr(one) for one in names[:_LISTED_COUNT])}{more}" if names else "nothing"


def pieces(file: IO[bytes], piece_bytes: int = 1 << 20) -> Iterator[bytes]:
    """Yield a file from its beginning on, a piece at a time."""
    file.seek(0)
    while piece := file.read(piece_bytes):
        yield piece
