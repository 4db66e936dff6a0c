"""Forms with files (multipart/form-data), read as they come: a large file is never in memory as a whole.

Knows nothing of requests; what it keeps are temporary files.

Source: RFC 7578, RFC 2046 section 5.1.
"""

from __future__ import annotations

import tempfile
from email.message import Message
from typing import IO

from reworker.web.errors import HttpProblem

#: bytes of a part that are kept in memory; what is longer goes to a temporary file.
MEMORY_BYTES = 1 << 20
#: parts of a form, and bytes of the headers of one, at most.
PART_COUNT, HEADER_BYTES = 100, 16 << 10
#: characters of a boundary. Source: RFC 2046.
_BOUNDARY_CHARACTERS = 70


class Part:
    """One field of a form.

    Args:
        name: of the field.
        file_name: as the client says; None is no file.
        content_type: as the client says; empty is not said.
    """

    def __init__(self, name: str, file_name: str | None, content_type: str) -> None:
        self.name, self.file_name, self.content_type = name, file_name, content_type
        #: its bytes; the form closes it.
        self.file: IO[bytes] = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115  # see `close`

    def text(self, limit_bytes: int = MEMORY_BYTES) -> str:
        """Return the value of a field.

        Raises:
            HttpProblem: it is no text, or too long for one.
        """
        self.file.seek(0)
        data = self.file.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise HttpProblem(
                413, "body-too-large", f"the field {self.name[:60]!a} is longer than {limit_bytes} bytes"
            )
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _refused(f"the field {self.name[:60]!a} is not UTF-8") from error


class MultipartForm:
    """A form that is being read: `feed` it, `end` it, look at its `parts`; `close` it at last.

    Args:
        content_type: header of the request, which names the boundary.

    Raises:
        HttpProblem: 400 the header names none.
    """

    def __init__(self, content_type: str) -> None:
        boundary = _message("Content-Type", content_type).get_param("boundary")
        if not isinstance(boundary, str) or not 0 < len(boundary) <= _BOUNDARY_CHARACTERS:
            raise _refused("its Content-Type names no boundary")
        self.parts: list[Part] = []
        self._delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
        # the first delimiter may stand at the very beginning, where no line ends before it
        self._buffer = bytearray(b"\r\n")
        self._is_in_headers = self._is_over = False

    def feed(self, data: bytes) -> None:
        """Take in what has come.

        Raises:
            HttpProblem: 400 it is no such form.
        """
        if self._is_over:
            return  # an epilogue, which says nothing
        self._buffer += data
        while not self._is_over and (self._take_headers() if self._is_in_headers else self._take_data()):
            pass

    def end(self) -> None:
        """See that the form has come to its end.

        Raises:
            HttpProblem: 400 it has not.
        """
        if not self._is_over:
            raise _refused("it ends within a part")
        for one in self.parts:
            one.file.seek(0)

    def part(self, name: str) -> Part | None:
        """Return the last part of a name."""
        return next((one for one in reversed(self.parts) if one.name == name), None)

    def close(self) -> None:
        """Forget all parts. Safe twice."""
        for one in self.parts:
            one.file.close()

    def _take_data(self) -> bool:
        """Pass on data up to the next delimiter; tell whether to go on."""
        place = self._buffer.find(self._delimiter)
        behind = place + len(self._delimiter)
        if place < 0 or len(self._buffer) < behind + 2:
            # what may be the beginning of a delimiter stays
            kept = len(self._delimiter) + 1
            self._write(max(len(self._buffer) - kept if place < 0 else place, 0))
            return False
        follows = bytes(self._buffer[behind : behind + 2])
        if follows not in (b"--", b"\r\n"):  # it only begins like one
            self._write(behind)
            return True
        self._write(place)
        del self._buffer[: len(self._delimiter) + 2]
        self._is_over, self._is_in_headers = follows == b"--", follows == b"\r\n"
        return True

    def _write(self, size_bytes: int) -> None:
        if self.parts and size_bytes:
            self.parts[-1].file.write(self._buffer[:size_bytes])
        del self._buffer[:size_bytes]

    def _take_headers(self) -> bool:
        """Begin a part when its headers are there; tell whether to go on."""
        end = self._buffer.find(b"\r\n\r\n")
        if end > HEADER_BYTES or (end < 0 and len(self._buffer) > HEADER_BYTES):
            raise _refused(f"a part has headers of more than {HEADER_BYTES} bytes")
        if end < 0:
            return False
        if len(self.parts) == PART_COUNT:
            raise _refused(f"it has more than {PART_COUNT} parts")
        self.parts.append(_part_of(bytes(self._buffer[:end])))
        del self._buffer[: end + 4]
        self._is_in_headers = False
        return True


def _part_of(head: bytes) -> Part:
    headers: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, sign, value = line.partition(":")
        if not sign:
            raise _refused("a part has a header that is none")
        headers[name.strip().lower()] = value.strip()
    said = _message("Content-Disposition", headers.get("content-disposition", ""))
    own = said.get_param("name", header="Content-Disposition")
    file_name = said.get_filename()
    if not isinstance(own, str):
        raise _refused("a part has no name")
    return Part(own, file_name, headers.get("content-type", ""))


def _message(name: str, value: str) -> Message:
    made = Message()
    made[name] = "".join(one for one in value if one.isprintable())
    return made


def _refused(reason: str) -> HttpProblem:
    return HttpProblem(400, "not-a-form", f"the form cannot be read: {reason}")
