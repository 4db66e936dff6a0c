"""httprequest: makes HTTP requests, only to places that its own configuration names.

Its settings::

    bases:
      inventory:
        url: "https://{host}:8443/api/"       # a step's `url` is this or below it; {host} is the step's host
        headers: {Authorization: Bearer abc}  # sent with every request, and masked in what comes back
        header_files: {X-Token: /etc/reworker/token}
        methods: [Get, Put]
    ca: /etc/reworker/ca.pem
    request_timeout_s: 30
    answer_bytes: 65536
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from replugin.httprequestworker.settings import Headers, HttpSettings, header_problems
from reworker.errors import JobFailed, JobUnknown
from reworker.worker import (
    HttpAnswer,
    Job,
    Worker,
    http_call,
    runner,
    step,
    tls_context,
)

#: methods that may safely be repeated: no answer is a failure, not a doubt.
REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})
MASK = "***"
#: a step's host in an URL.
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?")
Expected = int | list[int] | None
Data = dict[str, Any]


def _asking(method: str, words: str) -> Callable[..., Data]:
    """Return the step of a method that sends no body; `words` are for people, in its schema."""

    def ask(
        self: HttpRequestWorker,
        job: Job,
        *,
        url: str,
        headers: Headers | None = None,
        expect: Expected = None,
    ) -> Data:
        return self._request(job, method, url, headers, expect)

    return _step_of(method, words, ask)


def _sending(method: str, words: str) -> Callable[..., Data]:
    """Return the step of a method that sends a body; see `_asking`."""

    def send(
        self: HttpRequestWorker,
        job: Job,
        *,
        url: str,
        headers: Headers | None = None,
        expect: Expected = None,
        body: str | None = None,
        json: Any = None,
    ) -> Data:
        content = _content(body, json)
        return self._request(job, method, url, _with_type(headers, json), expect, content=content)

    return _step_of(method, words, send)


def _step_of(method: str, words: str, function: Callable[..., Data]) -> Callable[..., Data]:
    function.__doc__ = words
    return step(method.capitalize(), idempotent=method in REPEATABLE)(function)


class HttpRequestWorker(Worker):
    """Makes one request per step and says what was answered; secrets come from the configuration alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._http = self.own_settings(HttpSettings)
        self._tls = tls_context(self._http.ca)

    def problems_in(self, subcommand: str, values: Mapping[str, Any], hosts: Sequence[str]) -> Iterable[str]:
        """Say what is wrong with a step before it is started."""
        try:
            base = self._http.base_of(values["url"])
            url_of(values["url"], hosts)
        except ValueError as error:
            yield f"url: {error}"
        else:
            if subcommand not in base.methods:
                yield f"the settings allow {', '.join(base.methods)} there"
            own = {name.lower() for name in base.headers}
            yield from (
                f"headers: {one} is set by the settings"
                for one in values.get("headers") or ()
                if one.lower() in own
            )
        yield from header_problems(values.get("headers") or {})
        if values.get("body") is not None and values.get("json") is not None:
            yield "body, json: give one of them"

    get = _asking("GET", "Get `url`; a status from 200 to 299 is success, or one that `expect` lists.")
    head = _asking("HEAD", "Get what is said of `url`, without its body.")
    delete = _asking("DELETE", "Delete what `url` names.")
    put = _sending("PUT", "Put a text or a JSON value at `url`.")
    post = _sending("POST", "Post a text or a JSON value to `url`.")
    patch = _sending("PATCH", "Change what `url` names by a text or a JSON value.")

    def _request(
        self,
        job: Job,
        method: str,
        url: str,
        headers: Headers | None,
        expect: Expected,
        *,
        content: bytes | None = None,
    ) -> Data:
        base, target = self._http.base_of(url), url_of(url, job.hosts)
        own = {"User-Agent": "reworker", **(headers or {}), **base.headers}
        if method not in REPEATABLE and job.headers.idempotency_key:
            own.setdefault("Idempotency-Key", job.headers.idempotency_key)
        try:
            answer = http_call(
                method,
                target,
                headers=own,
                body=content,
                timeout_s=self._http.request_timeout_s,
                limit_bytes=self._http.answer_bytes,
                tls=self._tls,
            )
        except JobUnknown as error:
            if method in REPEATABLE:
                raise JobFailed(error.message) from error
            raise
        secrets = base.secrets()
        job.output.info("%s %s: %d %s", method, masked(target, secrets), answer.status, answer.reason)
        data = data_of(answer, secrets)
        if not is_expected(answer.status, expect):
            raise JobFailed(
                f"{method} {masked(target, secrets)} answered {answer.status} {answer.reason}", data
            )
        return data


def url_of(url: str, hosts: Sequence[str]) -> str:
    """Return the URL for the step's host.

    Raises:
        ValueError: it wants a host, and the step has none, several, or one that is no host name.
    """
    if "{host}" not in url:
        return url
    if len(hosts) != 1:
        raise ValueError(f"{{host}} needs a step with one host, found {len(hosts)}")
    host = hosts[0]
    if ":" in host:
        if "%" in host:  # nearly anything may stand behind it, the end of the brackets too
            raise ValueError(f"{host!r:.100} names a network interface")
        return url.replace("{host}", f"[{ipaddress.IPv6Address(host)}]")
    if not HOST.fullmatch(host):
        raise ValueError(f"{host!r:.100} is no host name")
    return url.replace("{host}", host)


def data_of(answer: HttpAnswer, secrets: Sequence[str]) -> Data:
    """Return what a reply says of an answer: ``{"status", "headers", "body" or "json", "is_cut"}``."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    headers = {name: masked(value, secrets) for name, value in answer.headers.items()}
    if "set-cookie" in headers:
        headers["set-cookie"] = MASK
    data: Data = {"status": answer.status, "headers": headers, "is_cut": answer.is_cut}
    text = masked(answer.body.decode(errors="replace"), secrets)
    if not answer.is_cut and (kind == "application/json" or kind.endswith("+json")):
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            return {**data, "json": msgspec.json.decode(text)}
    return {**data, "body": text}


def masked(text: str, secrets: Sequence[str]) -> str:
    """Return a text without the secrets, also as JSON and URLs write them."""
    for secret in secrets:
        for form in (secret, msgspec.json.encode(secret)[1:-1].decode(), quote(secret, safe="")):
            text = text.replace(form, MASK)
    return text


def is_expected(status: int, expect: Expected) -> bool:
    """Tell whether a status is what a step wants."""
    if expect is None:
        return 200 <= status <= 299
    return status in ([expect] if isinstance(expect, int) else expect)


def _content(body: str | None, value: Any) -> bytes | None:
    return msgspec.json.encode(value) if value is not None else None if body is None else body.encode()


def _with_type(headers: Headers | None, value: Any) -> Headers:
    given = dict(headers or {})
    if value is not None and "content-type" not in {name.lower() for name in given}:
        given["Content-Type"] = "application/json"
    return given


def main() -> None:
    """Run this worker: ``python replugin/httprequestworker/__init__.py mq.json -w httprequest.yaml``."""
    runner(HttpRequestWorker)


if __name__ == "__main__":
    main()
