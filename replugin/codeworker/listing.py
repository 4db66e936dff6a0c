"""Asking the server which codes there are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from reworker.codes.fetching import Source
from reworker.errors import JobFailed
from reworker.worker import http_call

#: seconds that one answer may take, and its bytes.
TIMEOUT_S, ANSWER_BYTES = 20.0, 4 << 20
#: codes in one answer, and how many answers are asked for. Source: the API's limits of its pages.
PER_PAGE, MOST_PAGES = 100, 101


def code_ids(source: Source) -> list[str]:
    """Return the ids of the codes of all projects that the token may see.

    Raises:
        JobFailed: the server does not say it.
    """
    found: list[str] = []
    for project in _entries(source, "/2/projects", "projects"):
        codes = f"/2/projects/{quote(str(project['id']), safe='')}/codes"
        found += [str(code["id"]) for code in _entries(source, codes, "codes")]
    return found


def _entries(source: Source, path: str, key: str) -> Iterator[Any]:
    for page in range(MOST_PAGES):
        entries = _answer(source, f"{path}?page={page}&per_page={PER_PAGE}").get(key) or []
        yield from entries
        if len(entries) < PER_PAGE:
            return


def _answer(source: Source, path: str) -> dict[str, Any]:
    headers = {"Accept": "application/json", "Authorization": f"OAuth {source.token}"}
    answer = http_call(
        "GET",
        f"{source.server}{path}",
        headers=headers,
        timeout_s=TIMEOUT_S,
        limit_bytes=ANSWER_BYTES,
        tls=source.tls,
    )
    if answer.status != 200:
        raise JobFailed(f"{source.server} does not list its codes: {answer.status} {answer.reason}")
    try:
        found = json.loads(answer.body)
    except ValueError as error:
        raise JobFailed(f"{source.server} is no server of ours: {path} is no JSON: {error}") from error
    return found if isinstance(found, dict) else {}
