"""The document that describes the API is valid, and a real server keeps to it for any input of its kind."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from functools import cache

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from reworker.core.principal import Scope
from reworker.core.tasks.codes import CodeDraft
from reworker.core.tasks.queueing import TaskDraft
from reworker.core.tasks.schedule_drafts import ScheduleDraft
from reworker.web import api_v1
from reworker.web.api_v1 import openapi
from reworker.web.api_v1.live import EVENT_STREAM
from tests.support.api import PLAYBOOK, Api, serving

#: inputs of a kind for each operation; `make test-all` takes many more.
EXAMPLES = int(os.environ.get("REWORKER_API_EXAMPLES", "2"))
#: what a step of the deployment in store is called like.
SECRETS = "group: web\nname: a\nexecution:\n- hosts: [h]\n  steps:\n  - noop:Do: {password: x}\n"
#: what an answer is held against; a 503 says that there is no broker here, and is described.
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
OPERATIONS = [one for one in api_v1.OPERATIONS if one.media_type != EVENT_STREAM]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("api")) as made:
        yield made


@pytest.fixture(scope="module")
def stored(api: Api) -> dict[str, str]:
    """Give ids of what is there, by their names in paths."""
    own_id = api.start(SECRETS)
    api.service.pause(own_id, actor="a")
    playbook = api.service.library.store(PLAYBOOK)
    return {"deployment_id": own_id, "playbook_id": playbook.id, "version": "1", **work_in(api)}


def work_in(api: Api) -> dict[str, str]:
    """Upload a code and queue a task of it; return their ids."""
    project = api.service.projects.find("default")
    code = api.service.codes.upload(project, CodeDraft("mail", "sh", "run.sh"), [b"PK"])
    (task,) = api.service.tasks.queue(project, [TaskDraft("mail", '{"password": "x"}')])
    (schedule,) = api.service.schedules.add(project, [ScheduleDraft("mail", cron="0 4 * * *")])
    ids = {"code_id": code.id, "task_id": task.id, "schedule_id": schedule.id}
    return {"project": project.id, **ids}


def test_document_is_valid_openapi() -> None:
    validate(openapi.document(api_v1.OPERATIONS))


def test_document_is_there_for_everybody_and_describes_every_operation(api: Api) -> None:
    found = httpx.get(f"{api.url}/api/v1/openapi.json").json()
    described = {(method, path) for path, ways in found["paths"].items() for method in ways}
    assert described == {(one.method.lower(), one.path) for one in api_v1.OPERATIONS}
    assert found["openapi"] == "3.1.0"
    assert found["security"] == [{"bearer": []}]
    ids = [one["operationId"] for ways in found["paths"].values() for one in ways.values()]
    assert len(ids) == len(set(ids))


def test_document_has_words_for_fields_and_examples() -> None:
    schemas = openapi.document(api_v1.OPERATIONS)["components"]["schemas"]
    assert (
        schemas["Deployment"]["properties"]["resumes"]["description"] == "The deployment that it continues."
    )
    assert "group: web" in schemas["NewDeployment"]["properties"]["text"]["examples"][0]
    assert not [name for name, one in schemas.items() if "Args:" in one.get("description", "")]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=openapi.operation_id)
def test_server_keeps_to_the_document(api: Api, stored: dict[str, str], operation, mode: str) -> None:
    try_out(api, stored, operation, mode)


def try_out(api: Api, stored: dict[str, str], operation, mode: str) -> None:
    """Send generated requests, half of them about what is there, and check each answer."""
    described, headers = described_by(api)[operation.path][operation.method], headers_of(api)
    names = re.findall(r"{(\w+)}", operation.path)
    known = {name: stored[name] for name in names if name in stored}
    for given_parts in [{}, {"path_parameters": known}] if known else [{}]:

        @seed(1)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=described.as_strategy(GenerationMode(mode), **given_parts))
        def check(case) -> None:
            answer = case.call(headers=headers, timeout=30)
            assert answer.status_code != 500, answer.text
            case.validate_response(answer, checks=CHECKS)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check()


@cache
def described_by(api: Api) -> schemathesis.BaseSchema:
    """Return what the server says of itself."""
    found = schemathesis.openapi.from_url(f"{api.url}/api/v1/openapi.json")
    found.config.update(base_url=f"{api.url}/api/v1")
    return found


@cache
def headers_of(api: Api) -> dict[str, str]:
    """Return headers with a token that may do all."""
    return {"Authorization": f"Bearer {api.token(Scope.ADMIN)}"}
