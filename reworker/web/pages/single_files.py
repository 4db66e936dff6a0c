"""A script that is uploaded alone becomes a package of one file; a zip file is taken as it is."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath, PureWindowsPath
from typing import IO

from reworker.codes.runtimes import SUFFIXES
from reworker.task_errors import PackageInvalid


def runtime_of(file_name: str) -> str:
    """Return what runs a file, by its name; empty when that says nothing."""
    return SUFFIXES.get(PurePosixPath(file_name).suffix[1:], "")


@contextmanager
def packed(file: IO[bytes], file_name: str) -> Iterator[tuple[IO[bytes], str]]:
    """Give a package and the name of its only file; the name is empty when it came as a zip file.

    Args:
        file: as a browser has sent it.
        file_name: as a browser says, perhaps with folders of its system.

    Raises:
        PackageInvalid: it is neither a zip file nor called like a script.
    """
    name = PureWindowsPath(file_name).name
    if zipfile.is_zipfile(file) or name.lower().endswith(".zip"):
        file.seek(0)
        yield file, ""
        return
    if not runtime_of(name):
        ends = ", ".join(f".{end}" for end in SUFFIXES)
        raise PackageInvalid(f"{name[:100]!a} is neither a zip file nor a script that ends in {ends}")
    with tempfile.TemporaryFile() as made:
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as package, package.open(name, "w") as target:
            file.seek(0)
            shutil.copyfileobj(file, target)
        yield made, name
