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
