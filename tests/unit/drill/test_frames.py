"""Frames are counted however their bytes arrive."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from reworker.drill.frames import FrameCounter, FrameFault, Harm, Side

HEADER = b"AMQP\x00\x00\x09\x01"


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


frames = st.lists(st.builds(frame, st.sampled_from([1, 2, 3, 8]), st.integers(0, 9), st.binary(max_size=40)))


@given(wanted=frames, has_header=st.booleans(), cuts=st.lists(st.integers(1, 20), min_size=1))
def test_every_frame_comes_out_whole_when_bytes_come_in_pieces(
    wanted: list[bytes], has_header: bool, cuts: list[int]
) -> None:
    expected = [HEADER, *wanted] if has_header else wanted
    stream, counter, found = b"".join(expected), FrameCounter(has_header=has_header), []
    for turn in range(len(stream) + 1):
        piece, stream = stream[: cuts[turn % len(cuts)]], stream[cuts[turn % len(cuts)] :]
        found += list(counter.feed(piece))
    assert found == expected


def test_header_passes_alone_when_the_server_has_to_speak_next() -> None:
    assert list(FrameCounter(has_header=True).feed(HEADER)) == [HEADER]


def test_fault_says_what_it_does_when_it_is_shown() -> None:
    assert str(FrameFault(Side.UP, 7, Harm.CUT)) == "cut before frame 7 up"
