"""What a code package may hold: every kind of bad package has an error that says what is wrong."""

import io
import stat
import struct
import tracemalloc
import zipfile

import pytest

from reworker.codes import directory, packages
from reworker.codes.packages import check_package, contents, entry_in
from reworker.task_errors import PackageInvalid
from tests.unit.codes.zips import Part, written, zipped


def refusal(file: io.BytesIO) -> str:
    with pytest.raises(PackageInvalid) as raised:
        check_package(file)
    return str(raised.value)


def paths(file: io.BytesIO) -> list[str]:
    return [content.path for content in contents(file)]


def test_package_is_taken_when_it_has_files_and_folders() -> None:
    file = zipped({"hello.py": "print(1)", "lib/": b"", "lib/a.py": "", "./x/./b.txt": "b"})
    check_package(file)
    assert paths(file) == ["hello.py", "lib", "lib/a.py", "x/b.txt"]


def test_package_is_taken_when_its_writer_could_not_seek() -> None:
    class Pipe(io.BytesIO):
        def tell(self) -> int:
            raise OSError("a pipe has no places")

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.sh", "echo")
    assert b"PK\x07\x08" in pipe.getvalue()
    check_package(io.BytesIO(pipe.getvalue()))


@pytest.mark.parametrize("name", ["Übung.py", "日本.py"])
def test_name_is_utf_8_when_it_can_be(name: str) -> None:
    assert paths(zipped({name: "x"})) == [name]
    assert paths(written([Part(name)])) == [name]


def test_name_is_of_the_old_code_page_when_it_is_no_utf_8() -> None:
    assert paths(written([Part(b"\x81bung.py")])) == ["übung.py"]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("../evil", "leads out"),
        ("a/../../evil", "leads out"),
        ("..", "leads out"),
        ("/etc/passwd", "absolute"),
        ("C:\\windows\\evil", "backslash"),
        ("C:/windows/evil", "absolute"),
        ("c:evil", "absolute"),
        ("a\\b", "backslash"),
        ("..\\evil", "backslash"),
        ("a\x00b", "control character"),
        ("a\nb", "control character"),
        ("a\x1b[2Jb", "control character"),
        ("x" * 300, "too long"),
        ("é" * 128, "too long"),
        ("/".join(["x" * 200] * 6), "too long"),
        ("a/" * 70 + "b", "too long"),
        ("", "no name"),
        (".", "no name"),
    ],
)
def test_name_is_refused_when_it_leads_elsewhere(name: str, word: str) -> None:
    assert word in refusal(written([Part("good"), Part(name)]))


@pytest.mark.parametrize(
    ("mode", "word"),
    [
        (stat.S_IFLNK | 0o777, "symbolic link"),
        (stat.S_IFBLK | 0o600, "device"),
        (stat.S_IFCHR | 0o600, "device"),
        (stat.S_IFIFO | 0o600, "pipe"),
        (stat.S_IFSOCK | 0o600, "socket"),
        (stat.S_IFREG | stat.S_ISUID | 0o755, "setuid"),
        (stat.S_IFREG | stat.S_ISGID | 0o755, "setuid"),
        (stat.S_ISUID | 0o755, "setuid"),
    ],
)
def test_member_is_refused_when_it_is_no_plain_file(mode: int, word: str) -> None:
    assert word in refusal(written([Part("a", mode=mode)]))


def test_folder_may_have_any_mode() -> None:
    check_package(written([Part("d/", b"", mode=stat.S_IFDIR | 0o2777), Part("d/a")]))


@pytest.mark.parametrize(
    "extra",
    [
        struct.pack("<HH", 0x000D, 12 + 6) + bytes(12) + b"target",
        struct.pack("<HH", 0x756E, 14 + 6) + bytes(14) + b"target",
        struct.pack("<HHLH", 0x756E, 14, 0, stat.S_IFLNK | 0o777) + bytes(8),
    ],
)
def test_member_is_refused_when_an_extra_field_makes_a_link_of_it(extra: bytes) -> None:
    assert "is a link" in refusal(written([Part("a", extra=extra)]))


@pytest.mark.parametrize("names", [("a", "a"), ("a", "./a"), ("d//a", "d/a")])
def test_package_is_refused_when_a_name_stands_twice(names: tuple[str, str]) -> None:
    assert "stands twice" in refusal(written([Part(name) for name in names]))


@pytest.mark.parametrize(
    "names", [("README", "readme"), ("Lib/a", "lib/b"), ("stra\u00dfe", "STRASSE"), ("e\u0301", "\u00e9")]
)
def test_package_is_refused_when_names_differ_in_case_only(names: tuple[str, str]) -> None:
    assert "differ in case only" in refusal(written([Part(name) for name in names]))


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a")])
def test_package_is_refused_when_a_file_is_a_folder_too(names: tuple[str, str]) -> None:
    assert "a" in refusal(written([Part(name) for name in names]))


@pytest.mark.parametrize("flags", [0x0001, 0x0040, 0x2000])
def test_package_is_refused_when_it_is_encrypted(flags: int) -> None:
    assert "encrypted" in refusal(written([Part("a", flags=flags)]))


@pytest.mark.parametrize("method", [1, 9, 12, 14, 99])
def test_package_is_refused_when_it_is_packed_in_an_unknown_way(method: int) -> None:
    assert f"method {method}" in refusal(written([Part("a", method=method)]))


def test_package_is_refused_when_a_folder_has_a_content() -> None:
    assert "has a content" in refusal(written([Part("d/", b"x")]))


def test_nested_bomb_is_one_small_file() -> None:
    inner = zipped({"zeros": bytes(1 << 20)}).getvalue()
    check_package(zipped({f"{number}.zip": inner for number in range(16)}))


def test_bomb_is_refused_when_it_says_what_it_is() -> None:
    bomb = Part("zeros")
    bomb.packed = bytes(2 << 20)
    bomb.told_bytes = packages.MOST_UNPACKED_BYTES + 1
    assert "unpack to more" in refusal(written([bomb]))


def test_bomb_is_refused_when_its_members_share_their_bytes() -> None:
    parts = [Part("kernel", bytes(1 << 16))]
    parts += [Part(str(number), bytes(1 << 16)) for number in range(50)]
    for part in parts[1:]:
        part.offset = 0
    assert "lies where another" in refusal(written(parts))


def test_bomb_is_refused_when_members_overlap_in_part() -> None:
    outer = Part("outer", bytes(100), method=0)
    inner = Part("inner", b"y", method=0)
    lone = written([inner]).getvalue()
    outer.packed = outer.packed[:20] + lone[:36] + outer.packed[56:]
    inner.offset = 30 + len("outer") + 20
    assert "lies where another" in refusal(written([outer, inner]))


def test_package_is_refused_when_it_has_a_million_members() -> None:
    text = refusal(zip64(written([Part("a")]), count=1_000_000))
    assert "1000000 members" in text
    many = zip64(written([Part("a")]), count=directory.MOST_MEMBERS + 1)
    assert "more than 65535" in refusal(many)


def zip64(file: io.BytesIO, *, count: int = 1) -> io.BytesIO:
    """Return a zip file with a zip64 end."""
    content = file.getvalue()
    size_bytes, offset = struct.unpack_from("<2L", content, len(content) - 10)
    body = content[:-22]
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size_bytes, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(body), 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return io.BytesIO(body + record + locator + end)


def test_package_is_taken_when_it_is_zip64() -> None:
    check_package(zip64(zipped({"a": "x"})))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive, archive.open("a", "w", force_zip64=True) as member:
        member.write(b"x")
    check_package(target)


def test_package_is_refused_when_its_zip64_record_is_damaged() -> None:
    content = bytearray(zip64(zipped({"a": "x"})).getvalue())
    for at, size, word in ((42, 4, "not there"), (98, 4, "not where")):
        broken = bytearray(content)
        broken[len(broken) - at : len(broken) - at + size] = bytes(size)
        assert word in refusal(io.BytesIO(bytes(broken)))
    large = Part("a")
    large.told_bytes = 0xFFFFFFFF
    assert "zip64 field" in refusal(written([large]))


def test_package_is_refused_when_sizes_lie() -> None:
    lying = Part("a", bytes(100))
    lying.told_bytes = 200_000
    assert "too few of them" in refusal(written([lying]))
    stored = Part("a", b"xy", method=0)
    stored.told_bytes = 3
    assert "too few of them" in refusal(written([stored]))


def test_package_is_refused_when_a_member_reaches_into_the_directory() -> None:
    part = Part("a", b"abc", method=0)
    file = bytearray(written([part]).getvalue())
    for at in (18, 22, 34 + 20, 34 + 24):
        struct.pack_into("<L", file, at, 9)
    assert "longer than the zip file" in refusal(io.BytesIO(bytes(file)))


def test_package_is_refused_when_a_member_has_two_names() -> None:
    part = Part("good")
    part.local_name = b"evil"
    assert "is another file where it lies" in refusal(written([part]))


def test_package_is_refused_when_a_member_has_two_sizes() -> None:
    file = bytearray(written([Part("a", b"abc", method=0)]).getvalue())
    struct.pack_into("<L", file, 22, 2)
    assert "another size where it lies" in refusal(io.BytesIO(bytes(file)))


def test_package_is_refused_when_it_is_cut_anywhere() -> None:
    content = zipped({"a.py": "print(1)" * 20, "b/c.txt": "text"}).getvalue()
    for length in range(len(content)):
        refusal(io.BytesIO(content[:length]))
    assert "cut off" in refusal(io.BytesIO(content[:60]))


def test_package_is_refused_when_something_stands_before_it() -> None:
    assert "something stands before it" in refusal(io.BytesIO(b"#!/bin/sh\n" + zipped({"a": "x"}).getvalue()))


def test_package_is_refused_when_it_is_empty_or_no_zip() -> None:
    assert "is empty" in refusal(io.BytesIO())
    assert "no zip file" in refusal(io.BytesIO(b"#!/bin/sh\necho hello\n"))
    assert "no zip file" in refusal(io.BytesIO(bytes(100_000)))
    assert "no members" in refusal(zipped({}))
    assert "folders only" in refusal(zipped({"d/": b""}))


def test_package_is_refused_when_it_is_one_of_several_parts() -> None:
    file = bytearray(zipped({"a": "x"}).getvalue())
    struct.pack_into("<H", file, len(file) - 18, 1)
    assert "one part of several" in refusal(io.BytesIO(bytes(file)))


@pytest.mark.parametrize("count", [0, 2])
def test_package_is_refused_when_its_directory_counts_wrong(count: int) -> None:
    assert refusal(written([Part("a")], count=count))


def test_package_is_refused_when_its_directory_holds_more_than_it_counts() -> None:
    assert "longer than its members" in refusal(written([Part("a"), Part("b")], count=1))


def test_package_is_refused_when_its_directory_is_huge() -> None:
    size_bytes = directory.MOST_DIRECTORY_BYTES + 1
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, size_bytes, 0, 0)
    assert "too much" in refusal(io.BytesIO(bytes(size_bytes) + end))


def test_package_is_refused_when_a_member_lies_on_another_disk() -> None:
    file = bytearray(written([Part("a", b"abc", method=0)]).getvalue())
    struct.pack_into("<H", file, 34 + 34, 7)
    assert "one part of several" in refusal(io.BytesIO(bytes(file)))


def test_package_is_refused_when_its_zip64_record_has_a_wrong_length() -> None:
    file = bytearray(zip64(zipped({"a": "x"})).getvalue())
    struct.pack_into("<Q", file, len(file) - 98 + 4, 45)
    assert "wrong length" in refusal(io.BytesIO(bytes(file)))


def test_package_is_refused_when_it_has_300_mb() -> None:
    class Large(io.BytesIO):
        def seek(self, offset: int, whence: int = 0) -> int:
            return 300_000_000 if whence == 2 else super().seek(offset, whence)

    assert "300000000 bytes" in refusal(Large(b"PK\x03\x04"))


def test_check_keeps_nothing_of_what_the_files_hold() -> None:
    file = zipped({f"{number}.bin": bytes(64 << 10) for number in range(200)})
    tracemalloc.start()
    check_package(file)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1 << 20


def test_bytes_at_random_are_refused_and_nothing_else() -> None:
    content = zipped({"a.py": "print(1)" * 20, "b/c.txt": "text"}).getvalue()
    for at in range(len(content)):
        broken = bytearray(content)
        broken[at] ^= 0xFF
        try:
            check_package(io.BytesIO(bytes(broken)))
        except PackageInvalid:
            continue


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("hello.py", "dir/hello.py"),
        ("dir/hello.py", "dir/hello.py"),
        ("./top.sh", "top.sh"),
        ("/srv/app/hello.py", "dir/hello.py"),
    ],
)
def test_entry_is_found_by_its_last_part_when_it_stands_only_once(wanted: str, found: str) -> None:
    assert entry_in(["top.sh", "dir/hello.py"], wanted) == found


def test_entry_is_refused_when_it_is_missing_or_not_the_only_one() -> None:
    with pytest.raises(PackageInvalid, match="is not in the package, which has: 'a'"):
        entry_in(["a"], "b")
    with pytest.raises(PackageInvalid, match="is several times"):
        entry_in(["x/a", "y/a"], "a")
    assert entry_in(["a", "y/a"], "a") == "a"
    with pytest.raises(PackageInvalid, match="is not in the package"):
        check_package(zipped({"a": "x"}), "b.py")
