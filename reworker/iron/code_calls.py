"""Code packages: uploaded, looked at, downloaded, paused."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPResponse
from pathlib import Path, PurePosixPath
from typing import Any, Unpack

from reworker.errors import ServerAway
from reworker.iron.archive import require_entry, runtime_told_by, zip_files, zip_folder
from reworker.iron.link import PIECE_BYTES, Body, Link, Linked, pieces_of, quoted, raised_by
from reworker.iron.options import CodeOptions, on_wire
from reworker.iron.records import Code, Revision, id_of, record
from reworker.task_errors import PackageInvalid

_FILE_NAME = re.compile(r'filename="?([^";]+)')


class CodeCalls(Linked):
    """Requests about codes; each takes a `Code` or its id."""

    def upload(
        self,
        target: str | os.PathLike[str],
        name: str = "",
        entry: str = "",
        *,
        runtime: str = "",
        **options: Unpack[CodeOptions],
    ) -> Code:
        """Upload a program: a file, a folder or a zip. A name that is there already gets a new revision.

        Args:
            target: its path.
            name: of the code; empty is the name of the file or folder without its ending.
            entry: file that is run, as it is called inside the package; not needed for a single file.
            runtime: that runs it; empty is what the ending says.
            options: see `CodeOptions`.

        Raises:
            PackageInvalid: it cannot be packed, or the server does not take it.
        """
        path = Path(target)
        if not path.exists():
            raise PackageInvalid(f"{str(path)!r} is no file or folder")
        entry = entry or (path.name if path.is_file() and path.suffix.lower() != ".zip" else "")
        if not entry:
            raise PackageInvalid(f"say which file of {str(path)!r} is run: entry=...")
        about = {"name": name or path.stem, "file_name": entry, "runtime": runtime or runtime_told_by(entry)}
        with _packed(path) as package:
            require_entry(package, entry, called=str(path))
            answer = send_package(self._link, {**about, **on_wire(CodeOptions, options)}, package)
        return self.code(answer["id"])

    def change_code(self, name: str, **options: Unpack[CodeOptions]) -> Code:
        """Change the options of a code without a new package."""
        answer = send_package(self._link, {"name": name, **on_wire(CodeOptions, options)}, None)
        return self.code(answer["id"])

    def codes(self, *, page: int = 0, per_page: int = 30) -> list[Code]:
        """Return codes of the project, a page of them."""
        found = self._link.ask("GET", "codes", query={"page": page, "per_page": per_page})
        return [record(Code, one) for one in found["codes"]]

    def code(self, code: Code | str) -> Code:
        """Return a code as it is now."""
        return record(Code, self._link.ask("GET", _path(code)))

    def revisions(self, code: Code | str, *, page: int = 0, per_page: int = 30) -> list[Revision]:
        """Return the uploads of a code."""
        found = self._link.ask("GET", f"{_path(code)}/revisions", query={"page": page, "per_page": per_page})
        return [record(Revision, one) for one in found["revisions"]]

    def code_stats(self, code: Code | str) -> dict[str, int]:
        """Return how many tasks of the last day have each status."""
        return {
            str(name): int(count) for name, count in self._link.ask("GET", f"{_path(code)}/stats").items()
        }

    def download(
        self, code: Code | str, destination: str | os.PathLike[str] = ".", *, revision: int = 0
    ) -> Path:
        """Write a package to a file and return its path.

        Args:
            code: whose.
            destination: a file, which is replaced; or a folder, for the name that the server gives.
            revision: 0 is the newest.

        Raises:
            PackageInvalid: it cannot be written.
        """
        query = {"revision": revision or None}
        with self._link.opened("GET", f"{_path(code)}/download", query=query) as response:
            path = Path(destination)
            path = path / _name_in(response) if path.is_dir() else path
            part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            try:
                _copy(response, part, path)
            finally:
                part.unlink(missing_ok=True)
        return path

    def delete_code(self, code: Code | str) -> None:
        """Delete a code; its tasks keep their logs."""
        self._link.ask("DELETE", _path(code))

    def pause(self, code: Code | str) -> None:
        """Start none of its tasks from now on."""
        self._link.ask("POST", f"{_path(code)}/pause_task_queue", {})

    def resume(self, code: Code | str) -> None:
        """Start its tasks again."""
        self._link.ask("POST", f"{_path(code)}/resume_task_queue", {})

    def cancel_all(self, code: Code | str) -> None:
        """End all of its tasks."""
        self._link.ask("POST", f"{_path(code)}/cancel_all", {})


def _path(code: Code | str) -> str:
    return f"codes/{quoted(id_of(code))}"


@contextlib.contextmanager
def _packed(path: Path) -> Iterator[str]:
    """Give a zip of a program; it goes with the block unless it was one already."""
    if path.is_file() and path.suffix.lower() == ".zip":
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="iron-") as folder:
        package = str(Path(folder) / "package.zip")
        if path.is_dir():
            zip_folder(str(path), package)
        else:
            zip_files([str(path.resolve())], package)
        yield package


def send_package(link: Link, about: Mapping[str, Any], package: str | None) -> Any:
    """Upload a package, a piece at a time; return the answer.

    Args:
        link: to the server.
        about: name, file_name, runtime and options.
        package: path of the zip; None changes the options alone.

    Raises:
        PackageInvalid: the file cannot be read.
        ReworkerError: what the server says.
    """
    boundary = secrets.token_hex(16)
    try:
        body = _form(boundary, about, package)
        return link.send("codes", body, f"multipart/form-data; boundary={boundary}")
    except ServerAway as error:
        if isinstance(error.__cause__, BrokenPipeError | ConnectionResetError):
            # A server hangs up on a package that it will not take; ask for the reason in a small way.
            raise raised_by(lambda: link.ask("GET", "codes", query={"per_page": 1})) or error from error
        raise


def _form(boundary: str, about: Mapping[str, Any], package: str | None) -> Body:
    start = f'--{boundary}\r\nContent-Disposition: form-data; name="data"\r\n\r\n{json.dumps(about)}\r\n'
    end = f"--{boundary}--\r\n".encode()
    if package is None:
        whole = start.encode() + end
        return lambda: (whole,), len(whole)
    start += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="package.zip"\r\n'
        "Content-Type: application/zip\r\n\r\n"
    )
    end = b"\r\n" + end
    try:
        size = Path(package).stat().st_size
    except OSError as error:
        raise PackageInvalid(f"{package!r} cannot be read: {error.strerror}") from error

    def pieces() -> Iterable[bytes]:
        yield start.encode()
        with open(package, "rb") as opened:
            while piece := opened.read(PIECE_BYTES):
                yield piece
        yield end

    return pieces, len(start.encode()) + size + len(end)


def _name_in(response: HTTPResponse) -> str:
    """Return the name that the server gives to a file, without any folder."""
    found = _FILE_NAME.search(response.headers.get("Content-Disposition", ""))
    name = PurePosixPath(found[1].replace("\\", "/")).name if found else ""
    return name if name not in ("", ".", "..") and name.isprintable() else "package.zip"


def _copy(response: HTTPResponse, part: Path, path: Path) -> None:
    try:
        opened = part.open("xb")
    except OSError as error:
        raise PackageInvalid(f"{str(path)!r} cannot be written: {error.strerror}") from error
    with opened:
        for piece in pieces_of(response):
            _put(opened, piece, path)
    try:
        part.replace(path)
    except OSError as error:
        raise PackageInvalid(f"{str(path)!r} cannot be written: {error.strerror}") from error


def _put(opened: Any, piece: bytes, path: Path) -> None:
    try:
        opened.write(piece)
    except OSError as error:
        raise PackageInvalid(f"{str(path)!r} cannot be written: {error.strerror}") from error
