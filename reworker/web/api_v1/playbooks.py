"""Stored playbooks: list, get, store, change, remove, their versions and what differs between them."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime
from difflib import unified_diff
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from reworker.core.guarded_library import SEEING
from reworker.core.principal import Scope
from reworker.errors import PlaybookNotFound
from reworker.storage.contract import PlaybookRow
from reworker.web.api_v1.deployments import PlaybookYaml
from reworker.web.api_v1.paging import MOST_COUNT, PageQuery, page_from, place_of
from reworker.web.api_v1.serving import core_of, playbook_id
from reworker.web.errors import HttpProblem
from reworker.web.operations import JSON_TYPE, Call, Operation

#: the largest number that a version can have.
_LAST = 2**31 - 1
#: versions of a page at most: each is read for itself.
VERSION_COUNT = 100
#: lines of a text up to which differences are looked for.
LINE_COUNT = 20_000
_KIND = "playbooks"
_ETAG = re.compile(r'(?:W/)?"(\d{1,9})"')
_IF_MATCH = (
    "`If-Match` with the `ETag` of the version that it was made from refuses it when there is a newer one."
)

VersionNumber = Annotated[int, Meta(ge=0, le=_LAST)]


class Playbook(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a stored playbook.

    Args:
        version: from 1; grows with each text that is stored.
        digest: SHA-256 of the text.
        text: YAML or JSON, as its author wrote it; left out of lists.
        actor: who stored this version.
        created_at: when it was stored.
    """

    id: str
    version: int
    group: str
    name: str
    digest: str
    actor: str
    created_at: datetime
    text: str | None = None


class Playbooks(msgspec.Struct, frozen=True):
    """A page of playbooks, newest first, without their texts.

    Args:
        next: cursor of the next page; null at the end.
    """

    items: list[Playbook]
    next: str | None


class Versions(msgspec.Struct, frozen=True):
    """Versions of a playbook, newest first, without their texts.

    Args:
        next: ask for those before this version; null at the end.
    """

    items: list[Playbook]
    next: int | None


class PlaybookQuery(PageQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which playbooks.

    Args:
        group: of the playbook; empty is any.
        name: is part of the name; capitals do not count.
    """

    group: str = ""
    name: str = ""


class VersionQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which versions.

    Args:
        before: those before this one; 0 is all.
    """

    before: VersionNumber = 0
    limit: Annotated[int, Meta(ge=1, le=VERSION_COUNT)] = 50


class DiffQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """Which versions are compared.

    Args:
        from_: the earlier one; 0 is the one before `to`.
        to: the later one; 0 is the newest.
    """

    from_: VersionNumber = 0
    to: VersionNumber = 0


class Difference(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """What differs between two versions.

    Args:
        from_: the earlier version.
        to: the later version.
        diff: in the unified format; empty when nothing differs.
    """

    from_: int
    to: int
    diff: str


class PlaybookText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A playbook to store.

    Args:
        text: YAML or JSON.
        base_version: that the text was made from; 0 is any. `If-Match` says the same.
    """

    text: PlaybookYaml
    base_version: VersionNumber = 0


def playbook_of(row: PlaybookRow, *, has_text: bool = True) -> Playbook:
    """Return a version as it is shown."""
    return Playbook(
        id=row.id,
        version=row.version,
        group=row.group,
        name=row.name,
        digest=row.digest,
        actor=row.actor,
        created_at=row.created_at,
        text=row.text if has_text else None,
    )


def _answer(row: PlaybookRow, status: int = 200) -> Response:
    headers = {"ETag": f'"{row.version}"'}
    if status == 201:
        headers["Location"] = f"/api/v1/playbooks/{row.id}"
    return Response(msgspec.json.encode(playbook_of(row)), status, headers, JSON_TYPE)


def _list(call: Call) -> Playbooks:
    query: PlaybookQuery = call.query
    before_id = place_of(query, _KIND)
    found = core_of(call).library.playbooks(group=query.group)
    wanted = [
        row
        for row in found
        if (not before_id or row.id < before_id) and query.name.casefold() in row.name.casefold()
    ]
    items, after = page_from(
        query,
        _KIND,
        wanted[: query.limit + 1],
        key=lambda row: row.id,
        show=lambda row: playbook_of(row, has_text=False),
    )
    return Playbooks(items, after)


def _get(call: Call) -> Response:
    return _answer(core_of(call).library.playbook(playbook_id(call)))


def _get_version(call: Call) -> Response:
    text = call.path["version"]
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise PlaybookNotFound(f"{playbook_id(call)} version {text[:60]}")
    return _answer(core_of(call).library.playbook(playbook_id(call), int(text)))


def _versions(call: Call) -> Versions:
    own_id, query, library = playbook_id(call), call.query, core_of(call).library
    newest = library.playbook(own_id)
    number = min(query.before - 1, newest.version) if query.before else newest.version
    items: list[Playbook] = []
    while number > 0 and len(items) < query.limit:
        with suppress(PlaybookNotFound):  # it was removed at that time
            items.append(playbook_of(library.playbook(own_id, number), has_text=False))
        number -= 1
    return Versions(items, items[-1].version if items and number > 0 else None)


def _diff(call: Call) -> Difference:
    own_id, query, library = playbook_id(call), call.query, core_of(call).library
    later = library.playbook(own_id, query.to)
    earlier = library.playbook(own_id, query.from_ or max(later.version - 1, 1))
    old, new = (one.text.splitlines(keepends=True) for one in (earlier, later))
    if max(len(old), len(new)) > LINE_COUNT:
        reason = f"a version has more than {LINE_COUNT} lines, which would take too long to compare"
        raise HttpProblem(422, "too-long", reason)
    names = [f"{one.name} version {one.version}" for one in (earlier, later)]
    found = "".join(_ended(one) for one in unified_diff(old, new, names[0], names[1]))
    return Difference(earlier.version, later.version, found)


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _add(call: Call) -> Response:
    return _answer(core_of(call).library.store(call.body.text), 201)


def _change(call: Call) -> Response:
    base = _base_version(call) or call.body.base_version
    return _answer(
        core_of(call).library.store(call.body.text, playbook_id=playbook_id(call), base_version=base)
    )


def _base_version(call: Call) -> int:
    """Return the version that ``If-Match`` names; 0 is any.

    Raises:
        HttpProblem: 400 it is none that we have given.
    """
    text = call.request.headers.get("if-match", "*").strip()
    found = _ETAG.fullmatch(text)
    if text != "*" and found is None:
        reason = 'the header If-Match takes the ETag of a version, such as "3", or *'
        raise HttpProblem(400, "invalid-header", reason)
    return int(found[1]) if found else 0


def _remove(call: Call) -> None:
    own_id, base, library = playbook_id(call), _base_version(call), core_of(call).library
    if base and library.playbook(own_id).version != base:
        reason = "the playbook was changed since that version: look at it again"
        raise HttpProblem(409, "changed-meanwhile", reason)
    library.remove(own_id)


OPERATIONS = (
    Operation(
        method="GET",
        path="/playbooks",
        do=_list,
        scope=Scope.READ,
        also=SEEING,
        summary="List playbooks, newest first",
        description=f"The newest {MOST_COUNT} playbooks are looked at.",
        tag="playbook",
        query=PlaybookQuery,
        answer=Playbooks,
    ),
    Operation(
        method="POST",
        path="/playbooks",
        do=_add,
        scope=Scope.PLAYBOOK_WRITE,
        summary="Store a playbook",
        tag="playbook",
        body=PlaybookText,
        answer=Playbook,
        status=201,
    ),
    Operation(
        method="GET",
        path="/playbooks/{playbook_id}",
        do=_get,
        scope=Scope.READ,
        also=SEEING,
        summary="Get the newest version of a playbook",
        tag="playbook",
        answer=Playbook,
        errors=(404,),
    ),
    Operation(
        method="PUT",
        path="/playbooks/{playbook_id}",
        do=_change,
        scope=Scope.PLAYBOOK_WRITE,
        summary="Store a new version of a playbook",
        description=f"The text that is stored already adds no version. {_IF_MATCH}",
        tag="playbook",
        body=PlaybookText,
        answer=Playbook,
        errors=(400, 404, 409),
    ),
    Operation(
        method="DELETE",
        path="/playbooks/{playbook_id}",
        do=_remove,
        scope=Scope.PLAYBOOK_WRITE,
        summary="Remove a playbook",
        description=f"Its deployments go on, and its versions can still be read by number. {_IF_MATCH}",
        tag="playbook",
        status=204,
        errors=(400, 404, 409),
    ),
    Operation(
        method="GET",
        path="/playbooks/{playbook_id}/versions",
        do=_versions,
        scope=Scope.READ,
        also=SEEING,
        summary="List the versions of a playbook, newest first",
        tag="playbook",
        query=VersionQuery,
        answer=Versions,
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/playbooks/{playbook_id}/versions/{version}",
        do=_get_version,
        scope=Scope.READ,
        also=SEEING,
        summary="Get a version of a playbook",
        tag="playbook",
        answer=Playbook,
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/playbooks/{playbook_id}/diff",
        do=_diff,
        scope=Scope.READ,
        also=SEEING,
        summary="Compare two versions of a playbook",
        tag="playbook",
        query=DiffQuery,
        answer=Difference,
        errors=(404,),
    ),
)
