"""The directory of a zip file, read a piece at a time and believed in nothing.

Only this module knows how zip files are laid out. It gives members as they are written; whether they may be
taken is decided in `packages`. Written after PKWARE's APPNOTE 6.3.10, sections 4.3 to 4.5.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from reworker.task_errors import PackageInvalid

#: most members of a package: what a zip file could have before zip64.
MOST_MEMBERS = 65_535
#: bytes of a directory: so many members with names of 400 bytes.
MOST_DIRECTORY_BYTES = 32 << 20
#: bytes of an end record, and the longest comment behind it.
_END_BYTES, _COMMENT_BYTES = 22, 65_535
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_END_MARK, _LOCATOR_MARK, _END_64_MARK = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
_CENTRAL_MARK, _LOCAL_MARK = b"PK\x01\x02", b"PK\x03\x04"
#: values that say that the real one stands in the zip64 field.
_ASK_64_LONG, _ASK_64_SHORT = 0xFFFFFFFF, 0xFFFF
_ZIP64_FIELD = 0x0001
#: flags of a member: it is encrypted; its sizes stand behind it.
ENCRYPTED, SIZES_BEHIND = 0x0001 | 0x0040 | 0x2000, 0x0008


class Member(NamedTuple):
    """One member of a zip file, as its directory says.

    Args:
        raw_name: as it is written.
        flags: see above.
        method: of compression.
        crc: of its content.
        packed_bytes: as it lies in the file.
        size_bytes: unpacked.
        mode: of Unix, with the kind of file; 0 where none is given.
        extra: further fields, as they are written.
        offset: of its local header.
    """

    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed_bytes: int
    size_bytes: int
    mode: int
    extra: bytes
    offset: int

    @property
    def name(self) -> str:
        """Its name as text: UTF-8 if it is that, whatever the flag says, else the code page of old."""
        try:
            return self.raw_name.decode("utf-8")
        except UnicodeDecodeError:
            return self.raw_name.decode("cp437")


class _Directory(NamedTuple):
    """Where the directory lies."""

    member_count: int
    size_bytes: int
    offset: int


def members(file: BinaryIO) -> Iterator[Member]:
    """Yield the members in the order of the directory; memory is bounded by one of them.

    Args:
        file: that can be sought in.

    Raises:
        PackageInvalid: it is no zip file, cut, or contradicts itself.
    """
    place = _place_of(file)
    at, end = place.offset, place.offset + place.size_bytes
    for _ in range(place.member_count):
        file.seek(at)
        head = file.read(_CENTRAL.size)
        if at + _CENTRAL.size > end or len(head) < _CENTRAL.size or head[:4] != _CENTRAL_MARK:
            raise PackageInvalid("the zip file's directory is damaged: it ends before its last member")
        member, length = _member(file, head)
        at += length
        if at > end:
            raise PackageInvalid("the zip file's directory is damaged: a member stands across its end")
        yield member
    if at != end:
        raise PackageInvalid("the zip file's directory is damaged: it is longer than its members")


def data_range(file: BinaryIO, member: Member) -> tuple[int, int]:
    """Return where a member's packed content begins and ends, after a look at its local header.

    Raises:
        PackageInvalid: there is no such header, or it contradicts the directory.
    """
    file.seek(member.offset)
    head = file.read(_LOCAL.size)
    if len(head) < _LOCAL.size or head[:4] != _LOCAL_MARK:
        raise PackageInvalid(f"{_shown(member)} is not where the zip file's directory says")
    _, _, flags, method, _, _, _, packed, size, name_bytes, extra_bytes = _LOCAL.unpack(head)
    raw_name = file.read(name_bytes)
    mask = ENCRYPTED | SIZES_BEHIND
    if raw_name != member.raw_name or method != member.method or flags & mask != member.flags & mask:
        raise PackageInvalid(f"{_shown(member)} is another file where it lies than in the directory")
    is_told_here = not flags & SIZES_BEHIND and _ASK_64_LONG not in (packed, size)
    if is_told_here and (packed, size) != (member.packed_bytes, member.size_bytes):
        raise PackageInvalid(f"{_shown(member)} has another size where it lies than in the directory")
    begin = member.offset + _LOCAL.size + name_bytes + extra_bytes
    return begin, begin + member.packed_bytes


def fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (number, content) of the extra fields of a member; a broken rest is passed over."""
    at = 0
    while at + 4 <= len(extra):
        number, length = struct.unpack_from("<HH", extra, at)
        yield number, extra[at + 4 : at + 4 + length]
        at += 4 + length


def directory_offset(file: BinaryIO) -> int:
    """Return where the directory begins: no member reaches behind that."""
    return _place_of(file).offset


def _place_of(file: BinaryIO) -> _Directory:
    size_bytes = file.seek(0, os.SEEK_END)
    if not size_bytes:
        raise PackageInvalid("the package is empty: send a zip file")
    file.seek(max(0, size_bytes - _END_BYTES - _COMMENT_BYTES))
    tail = file.read()
    at = tail.rfind(_END_MARK, 0, max(0, len(tail) - _END_BYTES + len(_END_MARK)))
    if at < 0:
        raise PackageInvalid(_no_end(file))
    end_at = size_bytes - len(tail) + at
    _, disk, first_disk, here, count, length, offset, _ = _END.unpack_from(tail, at)
    found = _Directory(count, length, offset)
    if _ASK_64_SHORT in (here, count) or _ASK_64_LONG in (length, offset):
        found, end_at = _place_64(file, found, end_at)
    elif disk or first_disk or here != count:
        raise PackageInvalid("the zip file is one part of several; send it as one file")
    if found.offset + found.size_bytes != end_at:
        raise PackageInvalid(
            "the zip file's directory is not where its end says: it was cut, or something stands before it"
        )
    if not found.member_count:
        raise PackageInvalid("the zip file has no members")
    if found.member_count > MOST_MEMBERS:
        raise PackageInvalid(f"the zip file has {found.member_count} members, more than {MOST_MEMBERS}")
    if found.size_bytes > MOST_DIRECTORY_BYTES:
        raise PackageInvalid(f"the zip file's directory has {found.size_bytes} bytes, which is too much")
    return found


def _no_end(file: BinaryIO) -> str:
    file.seek(0)
    if file.read(4) == _LOCAL_MARK:
        return "the zip file is cut off: its directory is missing; send it again"
    return "the package is no zip file"


def _place_64(file: BinaryIO, found: _Directory, end_at: int) -> tuple[_Directory, int]:
    """Return where the directory of a large zip file is, and where its end record begins."""
    file.seek(max(0, end_at - _LOCATOR.size))
    locator = file.read(_LOCATOR.size)
    if len(locator) < _LOCATOR.size or locator[:4] != _LOCATOR_MARK:
        if found.member_count == _ASK_64_SHORT and found.offset + found.size_bytes == end_at:
            return found, end_at  # so many members, and no zip64
        raise PackageInvalid("the zip file's end is damaged: it names a zip64 record that is not there")
    _, disk, at, disks = _LOCATOR.unpack(locator)
    file.seek(min(at, end_at))
    record = file.read(_END_64.size)
    if len(record) < _END_64.size or record[:4] != _END_64_MARK:
        raise PackageInvalid("the zip file's end is damaged: its zip64 record is not where it says")
    _, length, _, _, own_disk, first_disk, here, count, size_bytes, offset = _END_64.unpack(record)
    if disk or own_disk or first_disk or disks > 1 or here != count:
        raise PackageInvalid("the zip file is one part of several; send it as one file")
    if at + 12 + length + _LOCATOR.size != end_at:
        raise PackageInvalid("the zip file's end is damaged: its zip64 record has a wrong length")
    return _Directory(count, size_bytes, offset), at


def _member(file: BinaryIO, head: bytes) -> tuple[Member, int]:
    """Return a member and the bytes that it takes in the directory."""
    _, _, _, flags, method, _, _, crc, packed, size, *lengths, disk, _, external, offset = _CENTRAL.unpack(
        head
    )
    raw_name, extra = file.read(lengths[0]), file.read(lengths[1])
    if disk not in (0, _ASK_64_SHORT):
        raise PackageInvalid("the zip file is one part of several; send it as one file")
    if _ASK_64_LONG in (packed, size, offset):
        size, packed, offset = _large(extra, [size, packed, offset], raw_name)
    member = Member(raw_name, flags, method, crc, packed, size, external >> 16, extra, offset)
    return member, _CENTRAL.size + sum(lengths)


def _large(extra: bytes, values: list[int], raw_name: bytes) -> list[int]:
    """Return sizes and offset, those that did not fit from the zip64 field."""
    field = next((content for number, content in fields(extra) if number == _ZIP64_FIELD), b"")
    wanted = values.count(_ASK_64_LONG)
    if len(field) < 8 * wanted:
        raise PackageInvalid(f"{raw_name[:100]!a}: its zip64 field is missing or too short")
    larger = iter(struct.unpack_from(f"<{wanted}Q", field))
    return [next(larger) if value == _ASK_64_LONG else value for value in values]


def _shown(member: Member) -> str:
    return f"{member.name[:100]!a}"
