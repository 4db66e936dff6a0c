"""A certificate authority of one test, made by openssl: it signs what the test wants, wrong ones too."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"


class Signed(NamedTuple):
    """Files of a certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates; who trusts its `cert` trusts them.

    Args:
        folder: for its files, which are named after it.
        name: of this authority.
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._name = folder, name
        self.cert, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        _openssl(f"req -x509 {_KEY} -days 2 -subj /CN={name} -keyout {self._key} -out {self.cert}")

    def sign(self, name: str, *, host: str = "localhost", days: int = 2) -> Signed:
        """Sign a certificate for a host; one of -1 days has expired."""
        made = Signed(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extension = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extension.write_text(f"subjectAltName=DNS:{host}\n")
        _openssl(f"req -new {_KEY} -subj /CN={name} -keyout {made.key} -out {request}")
        _openssl(
            f"x509 -req -in {request} -CA {self.cert} -CAkey {self._key} -CAcreateserial -days {days} "
            f"-extfile {extension} -out {made.cert}"
        )
        return made


def _openssl(arguments: str) -> None:
    subprocess.run(["openssl", *arguments.split()], check=True, capture_output=True)
