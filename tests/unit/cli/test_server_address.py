"""The address of a server, as people give it."""

from __future__ import annotations

import pytest

from reworker.cli.server_client import ServerClient
from reworker.errors import ConfigError


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:80",
        "file:///etc/passwd",
        "http://",
        "http://ann@host",
        "http://host/?x=",
        "http://host/#x",
        "http://host/\r\nX: y",
    ],
)
def test_address_is_refused_when_requests_would_go_elsewhere(url: str) -> None:
    with pytest.raises(ConfigError, match="is not http://HOST:PORT or https://HOST"):
        ServerClient(url, "token")


@pytest.mark.parametrize("url", ["http://host:80", "https://host", "https://host/below/", "http://[::1]:80"])
def test_address_is_taken_when_it_is_one(url: str) -> None:
    assert ServerClient(url, "token").url == url.rstrip("/")
