from __future__ import annotations

from reworker.bus.transport import JoiningTransport


class Inner:
    """A transport of pika's: here without a socket, as under TLS."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_aborted = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def abort(self) -> None:
        self.is_aborted = True

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.written))


def joining(inner: Inner) -> JoiningTransport:
    transport = JoiningTransport(inner)
    transport.is_joining = True
    return transport


def test_writes_leave_together_when_flushed() -> None:
    inner = Inner()
    transport = joining(inner)
    for piece in (b"a", b"b", b"c"):
        transport.write(piece)
    assert (inner.written, transport.get_write_buffer_size()) == ([], 3)
    transport.flush()
    transport.flush()
    assert (inner.written, transport.get_write_buffer_size()) == ([b"abc"], 3)


def test_writes_pass_through_during_the_handshake() -> None:
    inner = Inner()
    JoiningTransport(inner).write(b"AMQP")
    assert inner.written == [b"AMQP"]


def test_abort_forgets_what_was_not_flushed() -> None:
    inner = Inner()
    transport = joining(inner)
    transport.write(b"late")
    transport.abort()
    transport.flush()
    assert (inner.written, inner.is_aborted) == ([], True)
