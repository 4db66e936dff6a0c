"""The settings of the httprequest worker: where requests may go, and with which secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import msgspec

from reworker.worker import checked_url, is_url_below, secret_of, tls_context

#: stands for ``{host}`` while URLs are compared; no name of a machine.
ANY_HOST = "any-host.invalid"
HEADER_NAME, HEADER_VALUE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}"), re.compile(r"[\x20-\x7e\t]*")
#: headers that say how a request is carried; HTTP itself sets them.
CARRIERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "expect"}
)
#: characters that a secret has at least; a shorter one would mask half of every answer.
SECRET_LENGTH = 4
Method = Literal["Get", "Head", "Post", "Put", "Patch", "Delete"]
Headers = dict[str, str]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Base(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One place that requests may go to."""

    url: str
    headers: Headers = {}
    header_files: dict[str, str] = {}
    methods: tuple[Method, ...] = ("Get", "Head", "Post", "Put", "Patch", "Delete")

    def __post_init__(self) -> None:
        """Check what no type can say.

        Raises:
            ValueError: it is wrong.
        """
        if "?" in checked_url(self.url.replace("{host}", ANY_HOST)):
            raise ValueError("url: has a query; a base ends with its path")
        files = {name: secret_of(None, file) or "" for name, file in self.header_files.items()}
        self.headers, self.header_files = {**self.headers, **files}, {}
        for problem in header_problems(self.headers):
            raise ValueError(problem)

    def secrets(self) -> list[str]:
        """Return what must not be shown: values of headers, and their last words, as in ``Bearer abc``."""
        words = {word for value in self.headers.values() for word in (value, value.rpartition(" ")[2])}
        return sorted((word for word in words if len(word) >= SECRET_LENGTH), key=len, reverse=True)


class HttpSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The worker's own settings."""

    bases: Annotated[dict[str, Base], msgspec.Meta(min_length=1)]
    ca: str | None = None
    request_timeout_s: Seconds = 30.0
    answer_bytes: Annotated[int, msgspec.Meta(ge=0, le=131_072)] = 65_536

    def __post_init__(self) -> None:
        """Check what no type can say.

        Raises:
            ValueError: it is wrong.
        """
        if self.ca is not None:
            tls_context(self.ca)

    def base_of(self, url: str) -> Base:
        """Return the settings of the place that an URL lies in, the narrowest one.

        Raises:
            ValueError: there is none.
        """
        wanted = checked_url(url.replace("{host}", ANY_HOST))
        found = [
            base for base in self.bases.values() if is_url_below(wanted, base.url.replace("{host}", ANY_HOST))
        ]
        if not found:
            known = ", ".join(sorted(base.url for base in self.bases.values()))
            raise ValueError(f"is below none that the settings name: {known}")
        return max(found, key=lambda base: len(base.url))


def header_problems(headers: Mapping[str, str]) -> Iterable[str]:
    """Say what is wrong with headers that somebody gives."""
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name):
            yield f"headers: {name!r:.100} is no name of a header"
        elif name.lower() in CARRIERS:
            yield f"headers: {name} is not yours to set"
        elif not HEADER_VALUE.fullmatch(value):
            yield f"headers: the value of {name} has line breaks or other odd characters"
