"""What a task writes on its way to its log."""

import random

from reworker.codes.pieces import EVERY_S, PIECE_BYTES, LogPieces


def collected(limit_bytes: int = 1 << 30) -> tuple[LogPieces, list[tuple[str, str]]]:
    sent: list[tuple[str, str]] = []
    return LogPieces(lambda text, stream: sent.append((stream, text)), limit_bytes), sent


def test_first_piece_is_sent_at_once_and_the_next_one_waits() -> None:
    pieces, sent = collected()
    pieces.take("out", b"one")
    assert pieces.send_due(100.0) is None
    pieces.take("out", b"two")
    left_s = pieces.send_due(100.0 + EVERY_S / 4)
    assert left_s is not None
    assert abs(left_s - EVERY_S * 3 / 4) < 1e-6
    assert sent == [("out", "one")]
    assert pieces.send_due(100.0 + EVERY_S) is None
    assert sent == [("out", "one"), ("out", "two")]


def test_much_is_sent_without_a_wait_and_in_small_pieces() -> None:
    pieces, sent = collected()
    pieces.take("out", b"x" * (3 * PIECE_BYTES + 1))
    assert [len(text) for _, text in sent] == [PIECE_BYTES] * 3 + [1]


def test_streams_keep_the_order_in_which_they_came() -> None:
    pieces, sent = collected()
    for stream, data in (("out", b"1"), ("out", b"2"), ("err", b"3"), ("out", b"4")):
        pieces.take(stream, data)
    pieces.end()
    assert sent == [("out", "12"), ("err", "3"), ("out", "4")]


def test_characters_are_whole_however_their_bytes_are_cut() -> None:
    chance = random.Random(7)
    text = "aü日🎉\n" * 300
    for stream_bytes in (text.encode(), b"\xff" + text.encode() + b"\xe6\x97"):
        pieces, sent = collected()
        at = 0
        while at < len(stream_bytes):
            end = at + chance.randint(1, 9)
            pieces.take("out", stream_bytes[at:end])
            pieces.send_due(at * EVERY_S)
            at = end
        pieces.end()
        assert "".join(part for _, part in sent) == stream_bytes.decode(errors="replace")


def test_log_ends_with_one_mark_at_its_limit() -> None:
    pieces, sent = collected(10)
    for _ in range(5):
        pieces.take("out", b"1234")
    pieces.end()
    mark = "\n[the log ends here: it has reached its limit of 10 bytes]\n"
    assert "".join(text for _, text in sent) == "1234123412" + mark


def test_log_of_exactly_its_limit_has_no_mark() -> None:
    pieces, sent = collected(4)
    pieces.take("out", b"1234")
    pieces.end()
    assert sent == [("out", "1234")]
