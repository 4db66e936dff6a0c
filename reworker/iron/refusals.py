"""What an answer that is no success means, as one of our errors."""

from __future__ import annotations

import json
import re

from reworker.errors import Forbidden, NotAuthenticated, ReworkerError, ServerAway
from reworker.iron.settings import IronSettings
from reworker.task_errors import PackageInvalid, TaskRefused, ThingNotFound

#: characters of a server's reason that are shown.
REASON_CHARACTERS = 500
_THING = re.compile(r"(codes|tasks|schedules)/([^/?]+)(?:/(log|outlog|download))?")
_ID = re.compile(r"[0-9a-f]{24}")
_KINDS = {"codes": "code", "tasks": "task", "schedules": "schedule"}


def reason_of(body: bytes) -> str:
    """Return what a server says of an error: its ``msg``, or its text."""
    text = body.decode("utf-8", "replace").strip()
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, dict):
        text = str(found.get("msg") or found.get("detail") or text)
    return text[:REASON_CHARACTERS]


def refusal(
    status: int, body: bytes, path: str, settings: IronSettings, *, about: tuple[str, str] = ("", "")
) -> ReworkerError:
    """Return the error of an answer.

    Args:
        status: of HTTP, 300 or more.
        body: of the answer.
        path: below the project, which tells what was asked for.
        settings: of whoever asked.
        about: kind and name of what the body of the request was about; empty is what the path names.
    """
    reason = reason_of(body) or f"status {status}"
    project = f"project {settings.project_id!r} of {settings.url}"
    if status == 401:
        source = f", from {settings.token_source}," if settings.token_source else ""
        return NotAuthenticated(
            f"{settings.url} does not take the token{source} for project {settings.project_id!r}: {reason}; "
            "`reworker token create` makes another"
        )
    if status == 403:
        return Forbidden(f"the token is not for this, in {project}: {reason}")
    if status == 404:
        return _not_found(path, reason, settings, about)
    if status in (400, 405, 406, 409, 411, 413, 422):
        kind = PackageInvalid if path.startswith("codes") and status == 413 else TaskRefused
        return kind(f"{project} refused it: {reason}")
    if 300 <= status < 400:
        return ServerAway(
            settings.url, f"it sends elsewhere (status {status}); give the address of the server itself"
        )
    return ServerAway(settings.url, f"status {status}: {reason}")


def _not_found(path: str, reason: str, settings: IronSettings, about: tuple[str, str]) -> ReworkerError:
    found = _THING.match(path)
    kind, key = about
    if found and not kind:
        part, key, output = found.groups()
        kind = "log yet of task" if output in ("log", "outlog") and "no log" in reason else _KINDS[part]
    if "no project" in reason.lower():
        return ThingNotFound("project", settings.project_id, f"on {settings.url}; it says: {reason}")
    if not kind:
        return ServerAway(settings.url, f"no {path} there ({reason}); is it a reworker server?")
    where = f"in project {settings.project_id!r} of {settings.url}; it says: {reason}"
    if found and not about[0] and not _ID.fullmatch(key):
        where += f"; here a {_KINDS[found[1]]} is given by its id, or as what an earlier call returned"
    return ThingNotFound(kind, key, where)
