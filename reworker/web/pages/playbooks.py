"""Playbooks: the list, one with its text and versions, and the forms that store, change and remove them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from reworker.core.principal import Place, Scope
from reworker.errors import PlaybookInvalid, PlaybookNotFound, StaleVersion
from reworker.ids import is_id
from reworker.storage.contract import DeploymentFilter, PlaybookRow
from reworker.web.errors import HttpProblem
from reworker.web.pages import playbook_check
from reworker.web.pages.line_diff import counts, difference
from reworker.web.pages.listing import row_of
from reworker.web.pages.page_routes import page_route
from reworker.web.pages.rendering import page, see_other
from reworker.web.pages.visits import Visit

#: rows of the list.
PAGE_COUNT = 100
#: versions and runs of a playbook that its page lists.
VERSION_COUNT, RUN_COUNT = 50, 8
#: what a new playbook begins as.
EXAMPLE = """\
group: example
name: say hello
params:
  greeting:
    type: string
    default: good day
    description: What to say to each host.
execution:
- hosts: [web1, web2]
  steps:
  - hello:Greet: {dynamic: [greeting]}
"""


def _list(visit: Visit) -> Response:
    q, group = visit.query("q").strip(), visit.query("group").strip()
    rows: list[PlaybookRow] = visit.service.library.playbooks(group=group)
    groups = sorted({one.group for one in rows})
    found = [one for one in rows if q.lower() in one.name.lower()]
    first = max(number(visit.query("from")), 0)
    query = {name: value for name, value in (("q", q), ("group", group)) if value}
    following = first + PAGE_COUNT
    more = f"/playbooks?{urlencode({**query, 'from': following})}" if following < len(found) else ""
    return page(
        visit,
        "playbooks.html",
        rows=found[first:following],
        found_count=len(found),
        total=len(rows),
        groups=groups,
        q=q,
        group=group,
        more=more,
    )


def row_at(visit: Visit, version: int = 0) -> PlaybookRow:
    """Return the playbook of the address.

    Raises:
        PlaybookNotFound: there is none of this id.
    """
    own_id = visit.path("playbook_id")
    if not is_id(own_id):
        raise PlaybookNotFound(own_id)
    found: PlaybookRow = visit.service.library.playbook(own_id, version)
    return found


def rights(visit: Visit, row: PlaybookRow) -> dict[str, bool]:
    """Return what the person may do with a playbook, so that only such buttons are shown."""
    place = Place(group=row.group)
    return {
        "may_run": visit.who.may(Scope.RUN, place),
        "may_write": visit.who.may(Scope.PLAYBOOK_WRITE, place),
    }


def _show(visit: Visit) -> Response:
    row, newest = row_at(visit, number(visit.query("version"))), row_at(visit)
    wanted = DeploymentFilter(playbook_id=row.id)
    runs = visit.service.deployments(limit=RUN_COUNT, wanted=wanted)
    return page(
        visit,
        "playbook.html",
        row=row,
        newest=newest,
        checked=playbook_check.checked(row.text),
        versions=_versions(visit, newest),
        runs=[row_of(one) for one in runs],
        **rights(visit, row),
    )


def number(text: str) -> int:
    """Return a number that an address or form gives; 0 of anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


def _versions(visit: Visit, newest: PlaybookRow) -> list[PlaybookRow]:
    found = [newest]
    for version in range(newest.version - 1, max(newest.version - VERSION_COUNT, 0), -1):
        try:
            found.append(visit.service.library.playbook(newest.id, version))
        except PlaybookNotFound:  # it was removed at that time
            continue
    return found


def _diff(visit: Visit) -> Response:
    newest = row_at(visit)
    later = row_at(visit, number(visit.query("to")) or newest.version)
    earlier = row_at(visit, number(visit.query("from")) or max(later.version - 1, 1))
    lines = difference(earlier.text, later.text)
    added, removed = counts(lines)
    return page(
        visit,
        "playbook_diff.html",
        row=newest,
        earlier=earlier,
        later=later,
        lines=lines,
        added=added,
        removed=removed,
        versions=_versions(visit, newest),
    )


def _new(visit: Visit) -> Response:
    return _editor(visit, None, EXAMPLE)


def _store(visit: Visit) -> Response:
    text = visit.form.text("text")
    if (checked := playbook_check.checked(text)).problems or visit.form.text("do") == "check":
        return _editor(visit, None, text, checked=checked)
    try:
        row = visit.service.library.store(text)
    except PlaybookInvalid as error:
        return _editor(visit, None, text, checked=checked.with_problem(error))
    return see_other(visit, f"/playbooks/{row.id}", f"{row.name} is stored.")


def _edit(visit: Visit) -> Response:
    row = row_at(visit)
    return _editor(visit, row, row.text)


def _change(visit: Visit) -> Response:
    row, text, base = row_at(visit), visit.form.text("text"), number(visit.form.text("version"))
    if (checked := playbook_check.checked(text)).problems or visit.form.text("do") == "check":
        return _editor(visit, row, text, checked=checked, base=base)
    try:
        changed = visit.service.library.store(text, playbook_id=row.id, base_version=base)
    except StaleVersion:
        return _conflict(visit, row_at(visit), text, base)
    except PlaybookInvalid as error:
        return _editor(visit, row, text, checked=checked.with_problem(error), base=base)
    if changed.version == base:
        return see_other(visit, f"/playbooks/{row.id}", "Nothing was changed.", "note")
    return see_other(visit, f"/playbooks/{row.id}", f"Version {changed.version} is stored.")


def _conflict(visit: Visit, newest: PlaybookRow, text: str, base: int) -> Response:
    """Show what somebody else has changed meanwhile; what was typed is kept, to be stored after a look."""
    before = row_at(visit, base) if 0 < base < newest.version else newest
    return _editor(
        visit, newest, text, status=HTTPStatus.CONFLICT, conflict=difference(before.text, newest.text)
    )


def _editor(visit: Visit, row: PlaybookRow | None, text: str, *, status: int = 200, **more: Any) -> Response:
    """Show the form for a playbook's text.

    Args:
        visit: what it answers.
        row: the playbook; None is a new one.
        text: as typed.
        status: of HTTP, unless the text has problems.
        more: `checked` text, `base` version, and a `conflict` with what somebody else has changed.
    """
    checked: playbook_check.Checked | None = more.get("checked")
    if checked is not None and checked.problems:
        status = HTTPStatus.UNPROCESSABLE_ENTITY
    return page(
        visit,
        "playbook_edit.html",
        status=status,
        row=row,
        text=text,
        checked=checked,
        base=more.get("base") or (row.version if row else 0),
        conflict=more.get("conflict"),
    )


def _removal(visit: Visit) -> Response:
    return page(visit, "playbook_remove.html", row=row_at(visit))


def _remove(visit: Visit) -> Response:
    row = row_at(visit)
    if visit.form.text("confirm") != "yes":
        raise HttpProblem(400, "not-confirmed", "nothing was removed: the box was not ticked")
    visit.service.library.remove(row.id)
    return see_other(visit, "/playbooks", f"{row.name} is removed. Its versions and deployments stay.")


_WRITE = Scope.PLAYBOOK_WRITE
ROUTES = (
    page_route("/playbooks", _list),
    page_route("/playbooks/new", _new, _store, needs=_WRITE),
    page_route("/playbooks/{playbook_id}", _show),
    page_route("/playbooks/{playbook_id}/diff", _diff),
    page_route("/playbooks/{playbook_id}/edit", _edit, _change, needs=_WRITE),
    page_route("/playbooks/{playbook_id}/remove", _removal, _remove, needs=_WRITE),
)
