"""Unpacking a code package into a folder that nobody else can see before it is whole."""

from __future__ import annotations

import os
import secrets
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from reworker.codes.directory import Member, data_range
from reworker.codes.packages import DEFLATED, contents
from reworker.task_errors import PackageInvalid

#: bytes that are read, and that come out of them, at once.
_CHUNK_BYTES = 64 << 10
#: permissions that a member may bring along; its owner may read and write it anyway.
_PERMISSIONS, _OWNERS, _USUAL = 0o777, 0o600, 0o644
#: how folders begin that are not whole yet.
NEW_PREFIX = ".new-"


def unpack(file: BinaryIO, target: Path) -> int:
    """Unpack a package into a folder of mode 0700; return the bytes of its files.

    Nothing is believed that was not counted: what comes out of a member has the size and the checksum that it
    says, or nothing is kept.

    Args:
        file: a zip file.
        target: does not exist yet; its parent does.

    Raises:
        PackageInvalid: what is wrong with the package.
        FileExistsError: somebody else was quicker.
        OSError: the files cannot be written.
    """
    fresh = target.with_name(f"{NEW_PREFIX}{secrets.token_hex(8)}")
    os.mkdir(fresh, 0o700)
    try:
        size_bytes = 0
        for content in contents(file):
            path = fresh / content.path
            if content.is_folder:
                path.mkdir(0o700, parents=True, exist_ok=True)
            else:
                path.parent.mkdir(0o700, parents=True, exist_ok=True)
                size_bytes += _write(path, file, content.member)
        _rename(fresh, target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return size_bytes


def _rename(fresh: Path, target: Path) -> None:
    try:
        os.rename(fresh, target)
    except OSError as error:
        if target.exists():
            raise FileExistsError(f"{target} exists") from error
        raise


def _write(path: Path, file: BinaryIO, member: Member) -> int:
    mode = (member.mode & _PERMISSIONS or _USUAL) | _OWNERS
    size_bytes = crc = 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        for part in _parts(file, member):
            size_bytes += len(part)
            if size_bytes > member.size_bytes:
                raise PackageInvalid(
                    f"{member.name[:100]!a} unpacks to more than the {member.size_bytes} bytes it says"
                )
            crc = zlib.crc32(part, crc)
            out.write(part)
        os.fchmod(out.fileno(), mode)
    if size_bytes != member.size_bytes or crc != member.crc:
        raise PackageInvalid(
            f"{member.name[:100]!a} is damaged: its size or its checksum is not what it says"
        )
    return size_bytes


def _parts(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """Yield the content of a member, never much at once."""
    begin, end = data_range(file, member)
    file.seek(begin)
    packed = _packed(file, end - begin)
    if member.method != DEFLATED:
        yield from packed
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for chunk in packed:
            rest = chunk
            while rest and not inflater.eof:
                yield inflater.decompress(rest, _CHUNK_BYTES)
                rest = inflater.unconsumed_tail
            if rest or inflater.unused_data:
                raise PackageInvalid(f"{member.name[:100]!a} is damaged: something stands behind its content")
        yield inflater.flush()
    except zlib.error as error:
        raise PackageInvalid(f"{member.name[:100]!a} is damaged: {error}") from error
    if not inflater.eof:
        raise PackageInvalid(f"{member.name[:100]!a} is damaged: its content has no end")


def _packed(file: BinaryIO, left_bytes: int) -> Iterator[bytes]:
    while left_bytes > 0:
        chunk = file.read(min(_CHUNK_BYTES, left_bytes))
        if not chunk:
            raise PackageInvalid("the zip file is cut off: a member is not whole; send it again")
        left_bytes -= len(chunk)
        yield chunk
