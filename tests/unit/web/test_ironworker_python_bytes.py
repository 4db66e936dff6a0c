"""Bytes that a client sent as Python writes them."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reworker.web.ironworker.python_bytes import PIECE_BYTES, is_written, written_bytes

#: what is escaped, and what looks like it.
ODD = st.sampled_from([b"\\", b"'", b'"', b"\n", b"\r", b"\t", b"\x00", b"\xff", b"x", b"n", b"\\x4", b"a"])


def meant(written: bytes, piece_bytes: int = PIECE_BYTES) -> bytes:
    file = io.BytesIO(written)
    assert is_written(file)
    return b"".join(written_bytes(file, piece_bytes))


@given(st.one_of(st.binary(max_size=80), st.lists(ODD, max_size=40).map(b"".join)), st.integers(1, 9))
@settings(max_examples=100)
def test_bytes_come_back_as_they_were_wherever_a_piece_ends(data: bytes, piece_bytes: int) -> None:
    data = b"PK" + data
    assert meant(repr(data).encode("ascii"), piece_bytes) == data


def test_bytes_come_back_when_there_are_more_than_a_piece() -> None:
    data = b"PK" + b"\\\x00'" * (PIECE_BYTES // 2)
    assert meant(repr(data).encode("ascii")) == data


@pytest.mark.parametrize(
    "data", [b"", b"b", b"b'P", b"b'PK", b"b'PK\"", b"PK\x03\x04", b"x'PK'", b"b'ZZ'", b"B'PK'"]
)
def test_other_bytes_are_what_they_are(data: bytes) -> None:
    assert not is_written(io.BytesIO(data))


@pytest.mark.parametrize(
    "written",
    [
        b"b'PK'x'",
        b'b"PK"x"',
        b"b'PK\\q'",
        b"b'PK\\x0'",
        b"b'PK\\u1234'",
        b"b'PK\n'",
        b"b'PK\xff'",
        b"b'PK\\'",
    ],
)
def test_what_python_does_not_write_is_refused(written: bytes) -> None:
    with pytest.raises(ValueError, match="send the file itself"):
        meant(written)
