"""What a code package may hold: checked when it is uploaded, and once more when it is unpacked.

Nothing is unpacked here and nothing is believed: names, kinds of files, sizes and places are looked at, in a
memory that the number of members bounds.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from reworker.codes.directory import ENCRYPTED, Member, data_range, directory_offset, fields, members
from reworker.task_errors import PackageInvalid

#: bytes of a package, and of what comes out of it. Source: IronWorker's limit of an image.
MOST_BYTES, MOST_UNPACKED_BYTES = 256 << 20, 1 << 30
#: bytes of one name in a path, and of a path. Source: NAME_MAX of Linux; a quarter of its PATH_MAX.
NAME_BYTES, PATH_BYTES = 255, 1024
#: names in a path.
MOST_DEPTH = 64
#: methods of compression: none and deflate.
STORED, DEFLATED = 0, 8
#: how many times its packed size a deflated file can have at most. Source: the format of deflate.
_MOST_RATIO = 1032
#: extra fields of PKWARE and of ASi that may make a member a link.
_UNIX_FIELD, _ASI_FIELD = 0x000D, 0x756E
_DRIVE = re.compile(r"[A-Za-z]:")
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


class Content(NamedTuple):
    """A file or folder of a package that may be unpacked.

    Args:
        path: below the package's folder, with ``/``; no part of it is ``..``.
        is_folder: and no file.
        member: of the zip file.
    """

    path: str
    is_folder: bool
    member: Member


def check_package(file: BinaryIO, file_name: str = "") -> None:
    """See that a package may be taken; it is read, not unpacked.

    Args:
        file: a zip file that can be sought in.
        file_name: of the file that will be run; empty is not looked for.

    Raises:
        PackageInvalid: what is wrong with it.
    """
    paths = [content.path for content in contents(file) if not content.is_folder]
    if file_name:
        entry_in(paths, file_name)


def contents(file: BinaryIO) -> Iterator[Content]:
    """Yield what a package holds, once all of it has been checked.

    Raises:
        PackageInvalid: what is wrong with it.
    """
    size_bytes = file.seek(0, os.SEEK_END)
    if size_bytes > MOST_BYTES:
        raise PackageInvalid(f"the package has {size_bytes} bytes; at most {MOST_BYTES} are taken")
    names, unpacked_bytes, found = _Names(), 0, []
    for member in members(file):
        content = _content(member)
        unpacked_bytes += member.size_bytes
        if unpacked_bytes > MOST_UNPACKED_BYTES:
            raise PackageInvalid(f"the package would unpack to more than {MOST_UNPACKED_BYTES} bytes")
        if content.path:
            names.add(content)
            found.append(content)
    if not any(not content.is_folder for content in found):
        raise PackageInvalid("the zip file has folders only")
    _check_places(file, found)
    yield from found


def entry_in(paths: list[str], file_name: str) -> str:
    """Return the path of the file to run: the one of this name, or the only one anywhere with its last part.

    Old clients put the folder's name before the names of its files, so that the file is not where it is said.

    Raises:
        PackageInvalid: there is none, or several.
    """
    wanted = "/".join(part for part in file_name.split("/") if part not in ("", "."))
    if wanted in paths:
        return wanted
    last = wanted.rpartition("/")[2]
    found = [path for path in paths if path.rpartition("/")[2] == last]
    if len(found) == 1:
        return found[0]
    shown = ", ".join(f"{one[:100]!a}" for one in (found or sorted(paths))[:5])
    reason = "is several times in the package" if found else "is not in the package, which has"
    raise PackageInvalid(f"the file {file_name[:100]!a} to be run {reason}: {shown}")


def _content(member: Member) -> Content:
    """Return what a member is, if it alone may be taken."""
    name = member.name
    shown = f"{name[:100]!a}"
    parts = _parts(name, shown)
    kind = stat.S_IFMT(member.mode)
    if kind in _KINDS:
        raise PackageInvalid(f"{shown} is {_KINDS[kind]}; only files and folders are taken")
    if _is_link(member):
        raise PackageInvalid(f"{shown} is a link; only files and folders are taken")
    is_folder = name.endswith("/") or kind == stat.S_IFDIR
    if is_folder and member.size_bytes:
        raise PackageInvalid(f"{shown} is a folder and has a content")
    if not is_folder and member.mode & (stat.S_ISUID | stat.S_ISGID):
        raise PackageInvalid(f"{shown} would run with its owner's rights (setuid, setgid)")
    if not is_folder and not parts:
        raise PackageInvalid(f"{shown} is no name of a file")
    _check_packing(member, shown)
    return Content("/".join(parts), is_folder, member)


def _parts(name: str, shown: str) -> list[str]:
    """Return the names in a path that leads nowhere else."""
    if any(unicodedata.category(one) in ("Cc", "Cs") for one in name):
        raise PackageInvalid(f"the name {shown} has a control character")
    if "\\" in name:
        raise PackageInvalid(f"the name {shown} has a backslash; separate folders by /")
    if name.startswith("/") or _DRIVE.match(name):
        raise PackageInvalid(f"the name {shown} is absolute; names are taken from the package's folder on")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise PackageInvalid(f"the name {shown} leads out of the package")
    if len(name.encode()) > PATH_BYTES or len(parts) > MOST_DEPTH:
        raise PackageInvalid(f"the name {shown} is too long: {PATH_BYTES} bytes and {MOST_DEPTH} folders")
    if any(len(part.encode()) > NAME_BYTES for part in parts):
        raise PackageInvalid(f"the name {shown} is too long: {NAME_BYTES} bytes between two /")
    return parts


def _is_link(member: Member) -> bool:
    """Tell whether an extra field makes a link of it: one of PKWARE with a target, one of ASi with a name."""
    for number, content in fields(member.extra):
        if number == _UNIX_FIELD and len(content) > 12:
            return True
        if number == _ASI_FIELD and (
            len(content) > 14 or stat.S_ISLNK(int.from_bytes(content[4:6], "little"))
        ):
            return True
    return False


def _check_packing(member: Member, shown: str) -> None:
    if member.flags & ENCRYPTED:
        raise PackageInvalid(f"{shown} is encrypted; send it open, over TLS")
    if member.method not in (STORED, DEFLATED):
        raise PackageInvalid(f"{shown} is packed by method {member.method}; only deflate is known")
    most = member.packed_bytes * (_MOST_RATIO if member.method == DEFLATED else 1)
    if member.size_bytes > most:
        raise PackageInvalid(
            f"{shown} cannot have {member.size_bytes} bytes: too few of them are in the package"
        )


class _Names:
    """The names of a package: no two files may meet in one, nor where case or accents do not count."""

    def __init__(self) -> None:
        self._kinds: dict[str, bool] = {}
        self._folded: dict[str, str] = {}

    def add(self, content: Content) -> None:
        """Take in a name and the folders above it."""
        path, is_folder = content.path, content.is_folder
        if path in self._kinds and not (is_folder and self._kinds[path]):
            raise PackageInvalid(f"{path[:100]!a} stands twice in the package")
        while path and path not in self._kinds:
            self._note(path, is_folder)
            path, is_folder = path.rpartition("/")[0], True
        if path and not self._kinds[path]:
            raise PackageInvalid(f"{path[:100]!a} is a file and a folder in one package")

    def _note(self, path: str, is_folder: bool) -> None:
        folded = unicodedata.normalize("NFC", path).casefold()
        other = self._folded.setdefault(folded, path)
        if other != path:
            raise PackageInvalid(f"{other[:100]!a} and {path[:100]!a} differ in case only; rename one")
        self._kinds[path] = is_folder


def _check_places(file: BinaryIO, found: list[Content]) -> None:
    """See that each member lies where it says, and no two in one place: a small file could hold terabytes."""
    before, limit = 0, directory_offset(file)
    for content in sorted(found, key=lambda one: one.member.offset):
        if content.member.offset < before:
            raise PackageInvalid(f"{content.path[:100]!a} lies where another member does")
        _, before = data_range(file, content.member)
        if before > limit:
            raise PackageInvalid(f"{content.path[:100]!a} is longer than the zip file")
