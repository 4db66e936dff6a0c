"""Playbooks before they are run: what is wrong with a text, what it would do, which values it takes."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from reworker.core import parameters
from reworker.core.principal import Scope
from reworker.core.submission import Draft
from reworker.errors import PlaybookInvalid
from reworker.fsm.parsing import examine, parse
from reworker.fsm.playbook import dynamic_names
from reworker.web.api_v1.deployments import PlaybookYaml, Values
from reworker.web.api_v1.history import shown_plan
from reworker.web.api_v1.playbooks import VersionNumber
from reworker.web.api_v1.serving import core_of, playbook_id
from reworker.web.operations import Call, Operation

_SCHEMA = "https://json-schema.org/draft/2020-12/schema"


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A playbook's text.

    Args:
        text: YAML or JSON.
    """

    text: PlaybookYaml


class Wrong(msgspec.Struct, frozen=True):
    """Something that is wrong with a playbook.

    Args:
        line: in the text, from 1; 0 is the text as a whole.
        path: place in the document, such as ``execution[0].steps[2]``.
        reason: in words, with a suggestion where there is one.
    """

    line: int
    path: str
    reason: str


class Validation(msgspec.Struct, frozen=True):
    """Everything that is wrong with a playbook's text.

    Args:
        is_valid: nothing is.
        problems: by line; the first 100.
        notes: what is worth knowing, though nothing is wrong with it.
    """

    is_valid: bool
    problems: list[Wrong]
    notes: list[str]


class Preview(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to look at before it is started.

    Args:
        text: YAML or JSON.
    """

    text: PlaybookYaml
    values: Values = {}


class StoredPreview(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values for a stored playbook.

    Args:
        version: 0 is the newest.
    """

    version: VersionNumber = 0
    values: Values = {}


class Planned(msgspec.Struct, frozen=True):
    """What would be done.

    Args:
        steps: how many, each counted once per host.
        plan: as that of a deployment, with the triggers, checks and actions of the operator.
    """

    steps: int
    plan: dict[str, Any]


class ParamQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of which version; 0 is the newest."""

    version: VersionNumber = 0


class ParamSchema(msgspec.Struct, frozen=True):
    """The values that a playbook takes.

    Args:
        params: a JSON Schema of all of them: an object with a property for each.
        dynamic: names that steps ask for; one without a schema may be anything.
    """

    params: Annotated[dict[str, Any], Meta(description="A JSON Schema (2020-12).")]
    dynamic: list[str]


def _validate(call: Call) -> Validation:
    reading = examine(call.body.text, "playbook")
    found = list(reading.problems)
    if reading.playbook is not None:
        found += parameters.problems(reading.playbook, reading.param_lines, source="playbook")
    problems = [_wrong(one) for one in sorted(found, key=lambda one: one.line)]
    return Validation(not problems, problems, list(reading.notes))


def _wrong(error: PlaybookInvalid) -> Wrong:
    return Wrong(error.line, error.path, error.reason)


def _plan(call: Call) -> Planned:
    return _planned(core_of(call).library.draft(call.body.text, call.body.values, "playbook"))


def _plan_stored(call: Call) -> Planned:
    library = core_of(call).library
    row = library.playbook(playbook_id(call), call.body.version)
    return _planned(library.draft_of(row, call.body.values, "playbook"))


def _planned(draft: Draft) -> Planned:
    return Planned(draft.plan.step_count, shown_plan(draft.plan))


def _params(call: Call) -> ParamSchema:
    found = parse(core_of(call).library.playbook(playbook_id(call), call.query.version).text)
    rules = call.site.service.library.rules()
    own = (step for sequence in found.execution for step in sequence.steps)
    steps = (*own, *rules.checks, *rules.actions, *(one.step for one in rules.triggers))
    listed = sorted(dynamic_names(steps))
    properties = {name: {} for name in listed} | dict(found.params)
    schema = {
        "$schema": _SCHEMA,
        "type": "object",
        "properties": properties,
        "required": [name for name, one in properties.items() if "default" not in one],
        # without `params`, any values are taken
        "additionalProperties": not found.params,
    }
    return ParamSchema(schema, listed)


OPERATIONS = (
    Operation(
        method="POST",
        path="/playbooks/validate",
        do=_validate,
        scope=Scope.READ,
        summary="Find everything that is wrong with a playbook's text",
        tag="playbook",
        body=Text,
        answer=Validation,
    ),
    Operation(
        method="POST",
        path="/playbooks/plan",
        do=_plan,
        scope=Scope.RUN,
        also=(Scope.PLAYBOOK_WRITE,),
        summary="Show what a playbook's text would do",
        tag="playbook",
        body=Preview,
        answer=Planned,
    ),
    Operation(
        method="POST",
        path="/playbooks/{playbook_id}/plan",
        do=_plan_stored,
        scope=Scope.READ,
        summary="Show what a stored playbook would do",
        tag="playbook",
        body=StoredPreview,
        answer=Planned,
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/playbooks/{playbook_id}/params",
        do=_params,
        scope=Scope.READ,
        summary="Get the schema of the values that a playbook takes",
        tag="playbook",
        query=ParamQuery,
        answer=ParamSchema,
        errors=(404,),
    ),
)
