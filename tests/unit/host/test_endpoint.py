"""Where an endpoint listens, as settings say it."""

from __future__ import annotations

import pytest

from reworker.errors import ConfigError
from reworker.host.endpoint import address_of


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9100", ("127.0.0.1", 9100)),
        ("0", ("127.0.0.1", 0)),
        (":9100", ("127.0.0.1", 9100)),
        ("0.0.0.0:9100", ("0.0.0.0", 9100)),
        ("[::1]:9100", ("::1", 9100)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_address_is_a_port_or_a_host_with_one(text: str, address: tuple[str, int]) -> None:
    assert address_of(text) == address


@pytest.mark.parametrize("text", ["", "here", "65536", "-1", "host:", "host:x", "1.5", "\u0661", "9" * 5000])
def test_wrong_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected PORT or HOST:PORT with a port up to 65535"):
        address_of(text)
