"""Zip files for tests: ordinary ones, and those that a careful program would never write."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping


def zipped(files: Mapping[str, bytes | str]) -> io.BytesIO:
    """Return an ordinary zip file."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    target.seek(0)
    return target


class Part:
    """One member as it is written, true or not."""

    def __init__(
        self,
        name: str | bytes,
        content: bytes = b"x",
        *,
        mode: int = 0,
        flags: int = 0,
        method: int = 8,
        extra: bytes = b"",
    ) -> None:
        self.name = name if isinstance(name, bytes) else name.encode()
        self.mode, self.flags, self.method, self.extra = mode, flags, method, extra
        self.size_bytes, self.crc = len(content), zlib.crc32(content)
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        self.packed = packer.compress(content) + packer.flush() if method == 8 else content
        #: another place than its own, and another name there.
        self.offset: int | None = None
        self.local_name = self.name
        self.told_bytes: int | None = None


def written(parts: Iterable[Part], *, count: int | None = None, comment: bytes = b"") -> io.BytesIO:
    """Return a zip file of these parts; `count` is told in place of their number."""
    body, directory, parts = bytearray(), bytearray(), list(parts)
    for part in parts:
        told = part.size_bytes if part.told_bytes is None else part.told_bytes
        offset = len(body) if part.offset is None else part.offset
        sizes = part.crc, len(part.packed), told, len(part.local_name)
        if part.offset is None:
            head = b"PK\x03\x04", 20, part.flags, part.method, 0, 0
            body += struct.pack("<4s5H3L2H", *head, *sizes, 0) + part.local_name + part.packed
        sizes = part.crc, len(part.packed), told, len(part.name)
        head = b"PK\x01\x02", 0x31E, 20, part.flags, part.method, 0, 0
        tail = len(part.extra), 0, 0, 0, part.mode << 16, offset
        directory += struct.pack("<4s6H3L5H2L", *head, *sizes, *tail) + part.name + part.extra
    number = len(parts) if count is None else count
    end = struct.pack(
        "<4s4H2LH", b"PK\x05\x06", 0, 0, number, number, len(directory), len(body), len(comment)
    )
    return io.BytesIO(bytes(body + directory + end + comment))
