"""Unpacking: what comes out is what the package says, or nothing is kept."""

import io
import os
import stat
import struct
import zlib
from pathlib import Path

import pytest

from reworker.codes.unpacking import unpack
from reworker.task_errors import PackageInvalid
from tests.unit.codes.zips import Part, written, zipped


def refusal(file: io.BytesIO, folder: Path) -> str:
    with pytest.raises(PackageInvalid) as raised:
        unpack(file, folder / "package")
    assert list(folder.iterdir()) == []
    return str(raised.value)


def test_files_and_folders_are_as_in_the_package(tmp_path: Path) -> None:
    target = tmp_path / "package"
    files = {"a.py": "print(1)", "lib/deep/b.bin": bytes(range(256)) * 1000, "empty/": ""}
    assert unpack(zipped(files), target) == 8 + 256_000
    assert (target / "a.py").read_text() == "print(1)"
    assert (target / "lib/deep/b.bin").read_bytes() == bytes(range(256)) * 1000
    assert (target / "empty").is_dir()
    assert stat.S_IMODE(target.stat().st_mode) == 0o700


@pytest.mark.parametrize(("mode", "found"), [(0o755, 0o755), (0o444, 0o644), (0, 0o644), (0o2, 0o602)])
def test_permissions_are_kept_and_its_owner_may_always_write(tmp_path: Path, mode: int, found: int) -> None:
    unpack(written([Part("a", mode=stat.S_IFREG | mode)]), tmp_path / "package")
    assert stat.S_IMODE((tmp_path / "package/a").stat().st_mode) == found


def test_stored_member_is_unpacked(tmp_path: Path) -> None:
    unpack(written([Part("a", b"plain", method=0)]), tmp_path / "package")
    assert (tmp_path / "package/a").read_bytes() == b"plain"


def test_member_is_refused_when_it_holds_more_than_it_says(tmp_path: Path) -> None:
    part = Part("a", bytes(5000))
    part.told_bytes = 4000
    assert "unpacks to more" in refusal(written([part]), tmp_path)


def test_member_is_refused_when_it_holds_less_than_it_says(tmp_path: Path) -> None:
    part = Part("a", bytes(4000))
    part.told_bytes = 5000
    assert "is damaged" in refusal(written([part]), tmp_path)


def test_member_is_refused_when_its_checksum_is_wrong(tmp_path: Path) -> None:
    part = Part("a", b"text")
    part.crc ^= 1
    assert "checksum" in refusal(written([part]), tmp_path)


def test_member_is_refused_when_its_content_has_no_end(tmp_path: Path) -> None:
    part = Part("a", b"text" * 100)
    part.packed = part.packed[:-3]
    assert "is damaged" in refusal(written([part]), tmp_path)


def test_member_is_refused_when_all_comes_out_and_it_goes_on(tmp_path: Path) -> None:
    part, packer = Part("a", b"text" * 100), zlib.compressobj(9, zlib.DEFLATED, -15)
    part.packed = packer.compress(b"text" * 100) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert "has no end" in refusal(written([part]), tmp_path)


def test_member_is_refused_when_something_stands_behind_its_content(tmp_path: Path) -> None:
    part = Part("a", b"text")
    part.packed += b"more"
    assert "stands behind" in refusal(written([part]), tmp_path)


def test_member_is_refused_when_it_is_no_deflate(tmp_path: Path) -> None:
    part = Part("a", b"text" * 10)
    part.packed = b"\xff" * 30
    assert "is damaged" in refusal(written([part]), tmp_path)


def test_nothing_is_kept_of_a_package_whose_last_member_is_bad(tmp_path: Path) -> None:
    bad = Part("b")
    bad.crc ^= 1
    refusal(written([Part("a"), bad]), tmp_path)


def test_bomb_stops_where_it_says_more_than_it_should(tmp_path: Path) -> None:
    bomb = Part("zeros", bytes(4 << 20))
    bomb.told_bytes = 1000
    assert "unpacks to more than the 1000 bytes" in refusal(written([bomb]), tmp_path)


def test_package_is_not_unpacked_where_somebody_was_quicker(tmp_path: Path) -> None:
    unpack(zipped({"a": "1"}), tmp_path / "package")
    with pytest.raises(FileExistsError):
        unpack(zipped({"a": "2"}), tmp_path / "package")
    assert (tmp_path / "package/a").read_text() == "1"
    assert os.listdir(tmp_path) == ["package"]


def test_bad_bytes_anywhere_leave_nothing_outside(tmp_path: Path) -> None:
    content = zipped({"a.py": "print(1)" * 20}).getvalue()
    for at in range(0, len(content), 3):
        broken = bytearray(content)
        struct.pack_into("<B", broken, at, broken[at] ^ 0x55)
        try:
            unpack(io.BytesIO(bytes(broken)), tmp_path / f"{at}")
        except PackageInvalid:
            continue
    assert [one.name for one in tmp_path.iterdir() if not one.name.isdigit()] == []
