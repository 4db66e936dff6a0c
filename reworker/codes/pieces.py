"""What a task writes, on its way to its log: in pieces, soon, and not without end."""

from __future__ import annotations

import codecs
from collections.abc import Callable

#: seconds between two pieces, unless there is much to say.
EVERY_S = 0.1
#: bytes of one piece at most: as text, and in JSON, it must fit into a line of output.
PIECE_BYTES = 16 << 10

#: gets (text, stream); the stream is ``out`` or ``err``.
Send = Callable[[str, str], None]


class LogPieces:
    """Collects what comes from stdout and stderr and sends it on in the order in which it came.

    Bytes that are no UTF-8 become the replacement character; bytes of one character may come in two parts.

    Args:
        send: gets the pieces.
        limit_bytes: of the whole log; then there is a mark, and the rest is dropped.
    """

    def __init__(self, send: Send, limit_bytes: int) -> None:
        self._send, self._left_bytes, self._limit_bytes = send, limit_bytes, limit_bytes
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {stream: decoder("replace") for stream in ("out", "err")}
        self._parts: list[tuple[str, bytes]] = []
        self._waiting_bytes = 0
        self._next_mono_s = 0.0
        self._is_cut = False

    def take(self, stream: str, data: bytes) -> None:
        """Take what was written; nothing is sent yet unless a piece is full."""
        if self._is_cut:
            return
        fits = data[: self._left_bytes]
        self._left_bytes -= len(fits)
        self._parts.append((stream, fits))
        self._waiting_bytes += len(fits)
        if len(fits) < len(data):
            self._is_cut = True
            mark = f"\n[the log ends here: it has reached its limit of {self._limit_bytes} bytes]\n"
            self._parts.append((stream, mark.encode()))
        if self._waiting_bytes >= PIECE_BYTES:
            self._send_waiting()

    def send_due(self, now_mono_s: float) -> float | None:
        """Send what has waited long enough; return the seconds until more is due, None when nothing waits."""
        if not self._parts:
            return None
        if now_mono_s < self._next_mono_s:
            return self._next_mono_s - now_mono_s
        self._send_waiting()
        self._next_mono_s = now_mono_s + EVERY_S
        return None

    def end(self) -> None:
        """Send the rest."""
        self._send_waiting()
        for stream, decoder in self._decoders.items():
            self._send_text(decoder.decode(b"", final=True), stream)

    def _send_waiting(self) -> None:
        parts, self._parts, self._waiting_bytes = self._parts, [], 0
        begin = 0
        while begin < len(parts):
            stream, end = parts[begin][0], begin + 1
            while end < len(parts) and parts[end][0] == stream:
                end += 1
            data = b"".join(part for _, part in parts[begin:end])
            for at in range(0, len(data), PIECE_BYTES):
                self._send_text(self._decoders[stream].decode(data[at : at + PIECE_BYTES]), stream)
            begin = end

    def _send_text(self, text: str, stream: str) -> None:
        if text:
            self._send(text, stream)
