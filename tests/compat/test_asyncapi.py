"""The published contract against the schema that AsyncAPI itself publishes."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema
import pytest

from reworker.published.document import document
from tests.conftest import require_server
from tests.support.iron_site import NPM_FOLDER

#: the schema of documents, in the package that the tools of AsyncAPI use.
OFFICIAL = NPM_FOLDER / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0-without-$id.json"


@pytest.fixture(scope="module")
def official() -> jsonschema.Draft7Validator:
    require_server("@asyncapi/specs of npm", OFFICIAL.is_file())
    return jsonschema.Draft7Validator(json.loads(OFFICIAL.read_text(encoding="utf-8")))


@pytest.fixture
def whole() -> dict[str, Any]:
    return copy.deepcopy(json.loads(json.dumps(document())))


def test_document_is_valid_for_those_who_made_the_format(
    official: jsonschema.Draft7Validator, whole: dict[str, Any]
) -> None:
    assert [one.message for one in official.iter_errors(whole)] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("asyncapi",), "2.6.0"),
        (("info", "version"), 1),
        (("channels", "steps", "bindings", "amqp", "is"), "topic"),
        (("channels", "steps", "bindings", "amqp", "exchange", "type"), "best"),
        (("operations", "runStep", "action"), "do"),
        (("operations", "sendOutput", "bindings", "amqp", "deliveryMode"), 3),
        (("operations", "runStep", "reply", "address", "location"), "elsewhere"),
        (("components", "schemas", "step", "type"), "thing"),
    ],
)
def test_mistake_would_be_found(
    official: jsonschema.Draft7Validator, whole: dict[str, Any], path: tuple[str, ...], value: Any
) -> None:
    target = whole
    for part in path[:-1]:
        target = target[part]
    assert path[-1] in target
    target[path[-1]] = value
    assert not official.is_valid(whole)
