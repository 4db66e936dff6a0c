"""Certificates for servers that tests start on localhost, made by openssl."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple


class Certificate(NamedTuple):
    """A self-signed certificate; who trusts `cert` trusts the server."""

    cert: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """Return how a server speaks TLS with it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context


def make_certificate(folder: Path, host: str = "localhost") -> Certificate:
    """Make one for a host name."""
    made = Certificate(folder / f"{host}.pem", folder / f"{host}.key")
    command = (
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={host} "
        f"-addext subjectAltName=DNS:{host} -keyout {made.key} -out {made.cert}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return made
