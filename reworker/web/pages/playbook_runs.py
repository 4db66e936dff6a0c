"""Starting a playbook: the form made from its `params`, a look at the plan, and the start itself, once."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response

from reworker.core.principal import Scope
from reworker.core.submission import Terms
from reworker.errors import ConfigError, Forbidden, KeyReused, PlaybookInvalid
from reworker.fsm.domains import ByCommand, domains_in_lines
from reworker.fsm.parsing import parse
from reworker.fsm.plan import Plan
from reworker.storage.contract import PlaybookRow
from reworker.web.errors import HttpProblem
from reworker.web.pages.page_routes import page_route
from reworker.web.pages.plan_preview import blocks
from reworker.web.pages.playbooks import number, row_at
from reworker.web.pages.rendering import page, see_other
from reworker.web.pages.run_form import Field, fields_of, values_of
from reworker.web.pages.visits import Visit

#: bytes of chance in the key that makes a double click start one deployment.
KEY_BYTES = 16
KEY_CHARACTERS = 64


def _fields(visit: Visit, row: PlaybookRow, *, is_sent: bool) -> list[Field]:
    given = dict(visit.form.fields) if is_sent else None
    return fields_of(parse(row.text), visit.site.service.library.rules(), given)


def _form(visit: Visit) -> Response:
    row = row_at(visit)
    return _page(visit, row, _fields(visit, row, is_sent=False), key=secrets.token_hex(KEY_BYTES))


def _run(visit: Visit) -> Response:
    """Show the plan, or start it: as the button says that was clicked."""
    row = row_at(visit)
    fields, key = _fields(visit, row, is_sent=True), visit.form.text("key")
    if not 1 <= len(key) <= KEY_CHARACTERS:
        raise HttpProblem(400, "no-key", "the form has lost its key: open it anew")
    values = values_of(visit.form, fields)
    if number(visit.form.text("version", str(row.version))) != row.version:
        problem = f"Somebody has stored version {row.version} meanwhile: look at its plan, then start it."
        return _page(visit, row, fields, key=key, problem=problem, status=HTTPStatus.CONFLICT)
    try:
        if visit.form.text("do") == "preview":
            plan = visit.service.library.draft_of(row, values, row.name, _domains(visit)).plan
            return _page(visit, row, fields, key=key, plan=plan)
        own_id = _started(visit, row, values, key)
    except (PlaybookInvalid, ConfigError, Forbidden) as error:
        status = HTTPStatus.FORBIDDEN if isinstance(error, Forbidden) else HTTPStatus.UNPROCESSABLE_ENTITY
        return _page(visit, row, fields, key=key, problem=str(error), status=status)
    except KeyReused as error:
        return see_other(visit, f"/deployments/{error.deployment_id}", "It was started already.", "note")
    return see_other(visit, f"/deployments/{own_id}", f"{row.name} is started.")


def _domains(visit: Visit) -> ByCommand:
    """Return the domains that were typed, by command.

    Raises:
        ConfigError: they are none.
    """
    lines = visit.form.text("domains").split("\n")
    return domains_in_lines([line for line in lines if line.strip()], "domains")


def _started(visit: Visit, row: PlaybookRow, values: dict[str, Any], key: str) -> str:
    domains = _domains(visit)
    terms = Terms(
        idempotency_key=key,
        request=msgspec.json.encode([row.id, values, domains], order="sorted"),
        domains=domains,
        is_unattended=visit.form.text("unattended") == "yes",
        reason=visit.form.text("reason"),
    )
    return visit.service.submit(row.text, values, terms=terms, playbook_id=row.id, source=row.name)


def _page(
    visit: Visit, row: PlaybookRow, fields: list[Field], *, key: str, status: int = 200, **more: Any
) -> Response:
    """Show the form.

    Args:
        visit: what it answers.
        row: the playbook.
        fields: with what was typed.
        key: of the start.
        status: of HTTP.
        more: a `problem`, or the `plan`.
    """
    plan: Plan | None = more.get("plan")
    rules = visit.site.service.library.rules()
    return page(
        visit,
        "playbook_run.html",
        status=status,
        row=row,
        fields=fields,
        key=key,
        domains=visit.form.text("domains"),
        reason=visit.form.text("reason"),
        is_unattended=visit.form.text("unattended") == "yes",
        problem=more.get("problem", ""),
        plan=plan,
        blocks=blocks(plan, rules) if plan else [],
    )


ROUTES = (page_route("/playbooks/{playbook_id}/run", _form, _run, needs=Scope.RUN),)
