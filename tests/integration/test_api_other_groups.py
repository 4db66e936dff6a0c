"""What a token of one group learns of the others: nothing, not even by a refusal."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from reworker.core.principal import Limits, Scope
from tests.support.api import Api, playbook, refused, serving


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("groups")) as made:
        yield made


@pytest.fixture(scope="module")
def limited(api: Api) -> httpx.Client:
    """Give an administrator of one group."""
    return api.client(limits=Limits(groups=("web",)), name="limited")


def test_refusal_does_not_say_where_a_deployment_is(api: Api, limited: httpx.Client) -> None:
    own_id = api.start(playbook("payments", environment="prod-eu"))
    where = f"/deployments/{own_id}"
    answers = [limited.get(f"{where}{part}") for part in ("", "/plan", "/events", "/log", "/stream")]
    answers += [limited.post(f"{where}/{act}", json={}) for act in ("cancel", "pause", "approve", "retry")]
    for one in answers:
        assert "is not for where deployment" in refused(one, 403, "forbidden")
        assert not {"payments", "prod-eu"} & set(one.text.replace("'", " ").split())


def test_audit_is_for_administrators_of_all_groups(api: Api, limited: httpx.Client) -> None:
    assert "of all groups" in refused(limited.get("/audit"), 403, "forbidden")
    assert api.client(name="boss").get("/audit").status_code == 200
    assert api.client(Scope.READ).get("/audit").status_code == 403


def test_tokens_of_others_are_not_listed(api: Api, limited: httpx.Client) -> None:
    for number in range(3):
        api.token(Scope.READ, limits=Limits(groups=("payments",)), name=f"paying{number}")
        api.token(Scope.READ, limits=Limits(groups=("web",)), name=f"surfing{number}")
    api.token(Scope.READ, name="everywhere")
    seen, cursor = [], ""
    while cursor is not None:
        page = limited.get("/tokens", params={"limit": 2, "cursor": cursor}).json()
        assert len(page["items"]) <= 2
        seen, cursor = [*seen, *(one["name"] for one in page["items"])], page["next"]
    assert seen[:3] == ["surfing2", "surfing1", "surfing0"]
    assert set(seen[3:]) == {"limited"}
    names = {one["name"] for one in api.client(name="chief").get("/tokens").json()["items"]}
    assert {"paying0", "surfing0", "everywhere"} <= names


def test_what_the_operator_adds_is_shown_to_who_may_run_or_write_there(api: Api) -> None:
    body = {"text": playbook("web", hosts="[web1]")}
    for scope in (Scope.RUN, Scope.PLAYBOOK_WRITE):
        assert api.client(scope).post("/playbooks/plan", json=body).status_code == 200
        other = api.client(scope, limits=Limits(groups=("payments",)))
        refused(other.post("/playbooks/plan", json=body), 403, "forbidden")
    reader = api.client(Scope.READ)
    refused(reader.post("/playbooks/plan", json=body), 403, "forbidden")
    stored = api.service.library.store(body["text"])
    assert reader.post(f"/playbooks/{stored.id}/plan", json={}).status_code == 200
    stranger = api.client(Scope.READ, limits=Limits(groups=("payments",)))
    refused(stranger.post(f"/playbooks/{stored.id}/plan", json={}), 403, "forbidden")
