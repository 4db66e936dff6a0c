"""Which URLs a worker may be sent to."""

from __future__ import annotations

import pytest

from reworker.jobs.http_call import checked_url, is_url_below


@pytest.mark.parametrize(
    "url", ["http://a", "https://a.example:8443/x/y?q=1&r=%20", "http://[::1]:80/", "http://a/x/..y/..."]
)
def test_url_is_taken_when_it_says_one_thing(url: str) -> None:
    assert checked_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a/b",
        "//a/b",
        "ftp://a/",
        "file:///etc/passwd",
        "http://",
        "http:///x",
        "http://a:0/",
        "http://a:99999/",
        "http://user:secret@a/",
        "http://a@b/",
        "http://a/#x",
        "http://a/x#",
        "http://a/ b",
        "http://a/\r\nX: y",
        "http://a\\@b/",
        "http://a/x\\..\\y",
        "http://a/../b",
        "http://a/x/%2e%2e/b",
        "http://a/x/.%2E",
        "http://a/x/./b",
        "http://a/x/..%5cb",
        "http://\u0430/",
        "http://a/\x00",
        "http://[::1/",
    ],
)
def test_url_is_refused_when_it_could_mislead(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|path|[Pp]ort") as caught:
        checked_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "base", "is_below"),
    [
        ("http://a/x", "http://a/", True),
        ("http://a", "http://a/", True),
        ("http://a/", "http://a", True),
        ("http://A:80/x?y", "http://a/x", True),
        ("https://a:443/x/y", "https://a/x/", True),
        ("https://a/x", "https://a/x/", True),
        ("https://a/xy", "https://a/x", False),
        ("https://a/", "https://a/x", False),
        ("http://a/x", "https://a/x", False),
        ("http://a:8080/x", "http://a/x", False),
        ("http://a.evil/x", "http://a/x", False),
        ("http://b/x", "http://a/x", False),
    ],
)
def test_url_is_below_its_base_only_when_origin_and_path_agree(url: str, base: str, is_below: bool) -> None:
    assert is_url_below(url, base) is is_below
