"""Who polls: the tokens of workers, in the places where clients put them."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from reworker.clock import SystemClock
from reworker.core.principal import Limits, Scope
from reworker.core.worker_tokens import WorkerTokens
from tests.integration.conductor_support import Poller, polled
from tests.support.waiting import wait_until


class Behind(SystemClock):
    """A clock of two hours ago."""

    def now(self) -> datetime:
        """Return that time."""
        return super().now() - timedelta(hours=2)


@pytest.fixture(scope="module")
def poller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Poller]:
    with polled(tmp_path_factory.mktemp("auth")) as made:
        yield made


def given(poller: Poller, secret: str, path: str = "/api/token") -> httpx.Response:
    return poller.client().post(path, json={"keyId": "anything", "keySecret": secret})


@pytest.mark.parametrize("path", ["/api/token", "/token"])
def test_token_for_an_hour_is_worth_what_the_one_behind_it_is(poller: Poller, path: str) -> None:
    token = given(poller, poller.token, path).json()["token"]
    assert poller.client(token).get("/api/tasks/poll/t").status_code == 204
    reader = given(poller, poller.api.token(Scope.READ)).json()["token"]
    assert poller.client(reader).get("/api/tasks/poll/t").status_code == 403
    # it is none for our own addresses
    answer = poller.client(Authorization=f"Bearer {token}").get("/api/v1/deployments")
    assert answer.status_code == 401


@pytest.mark.parametrize("secret", ["", "x", "rw_", "rw_" + "0" * 24 + "_" + "0" * 64, "rwt_x", "\u00fc"])
def test_wrong_secret_gets_no_token(poller: Poller, secret: str) -> None:
    answer = given(poller, secret)
    assert answer.status_code == (401 if secret else 400)
    # with INVALID_TOKEN conductor-python would ask for another token, here, until its stack is full
    assert not secret or answer.json()["error"] == "INVALID_CREDENTIALS"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"keySecret": 3}'])
def test_request_for_a_token_that_is_none_is_refused(poller: Poller, body: bytes) -> None:
    assert poller.client().post("/api/token", content=body).status_code == 400


def test_token_is_found_where_clients_put_it(poller: Poller) -> None:
    basic = base64.b64encode(f"anybody:{poller.token}".encode()).decode()
    for headers in (
        {"X-Authorization": poller.token},
        {"X-Authorization": f"Bearer {poller.token}"},
        {"Authorization": f"Bearer {poller.token}"},
        {"Authorization": f"Basic {basic}"},
    ):
        assert poller.client(**headers).get("/api/task/poll/t").status_code == 204, headers


@pytest.mark.parametrize(
    "token", ["", "x", "rwc_x", "rwc_" + "0" * 24 + "_0000000001_" + "0" * 64, "x" * 5000]
)
def test_wrong_token_is_refused_so_that_clients_get_another(poller: Poller, token: str) -> None:
    answer = poller.client(token).get("/api/tasks/poll/t")
    assert (answer.status_code, answer.json()["error"]) == (401, "INVALID_TOKEN")
    assert answer.json()["message"]


@pytest.mark.parametrize("header", ["Basic !", "Basic", "Basic /w==", "Digest x", "Bearer"])
def test_odd_header_is_no_token(poller: Poller, header: str) -> None:
    answer = poller.client(Authorization=header).get("/api/tasks/poll/t")
    assert (answer.status_code, answer.json()["error"]) == (401, "INVALID_TOKEN")


def test_token_whose_hour_is_over_says_so(poller: Poller) -> None:
    who = poller.api.access.principal_of(poller.token)
    old = WorkerTokens(poller.api.storage, Behind()).token_of(who)
    answer = poller.client(old).get("/api/tasks/poll/t")
    assert (answer.status_code, answer.json()["error"]) == (401, "EXPIRED_TOKEN")
    forged = old[:-1] + ("0" if old[-1] != "0" else "1")
    assert poller.client(forged).get("/api/tasks/poll/t").json()["error"] == "INVALID_TOKEN"


def test_revoked_token_ends_with_those_that_were_given_for_it(poller: Poller) -> None:
    view, text = poller.api.access.create_token("gone", [Scope.WORKER])
    clients = [poller.client(text), poller.client(given(poller, text).json()["token"])]
    assert [one.get("/api/tasks/poll/t").status_code for one in clients] == [204, 204]
    poller.api.access.revoke(view.id)
    for one in clients:
        wait_until(lambda one=one: one.get("/api/tasks/poll/t").status_code == 401, 30)  # type: ignore[misc]  # bound on purpose


def test_token_for_some_groups_takes_no_task_of_all(poller: Poller) -> None:
    limited = poller.client(poller.api.token(Scope.WORKER, limits=Limits(groups=("web",))))
    answer = limited.get("/api/tasks/poll/t")
    assert (answer.status_code, answer.json()["error"]) == (403, "FORBIDDEN")
    assert "workers need one without limits" in answer.json()["message"]


def test_denial_is_in_the_audit_once_however_often_it_is_polled(poller: Poller) -> None:
    client = poller.client(poller.api.token(Scope.READ, name="curious"))
    assert {client.get("/api/tasks/poll/secret").status_code for _ in range(5)} == {403}
    (entry,) = poller.api.access.audit(limit=5, actor="curious")
    assert (entry.action, entry.target, entry.outcome) == (
        "conductor.get",
        "/api/tasks/poll/secret",
        "denied",
    )


def test_log_says_who_is_turned_away_once_however_often_he_polls(
    poller: Poller, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "reworker.web.conductor.dialect")
    for _ in range(3):
        poller.client("wrong").get("/api/tasks/poll/told")
        poller.client(poller.api.token(Scope.READ, name="stranger")).get("/api/tasks/poll/told")
    said = [one.message for one in caplog.records if one.name == "reworker.web.conductor.dialect"]
    assert [one.partition(" is refused: ")[0] for one in said] == [
        "GET /api/tasks/poll/told from 127.0.0.1"
    ] * 2
    assert "worker" in said[1]


def test_definitions_are_in_the_audit(poller: Poller) -> None:
    poller.http.put("/api/metadata/taskdefs", json={"name": "audited"})
    poller.http.put("/api/metadata/taskdefs", json={"name": "audited"})
    poller.http.delete("/api/metadata/taskdefs/audited")
    found = [(one.action, one.outcome) for one in poller.api.access.audit(limit=10, target="audited")]
    # the second time nothing was new
    assert found == [("definition.drop", "done"), ("definition.put", "done")]


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_page_of_another_site_changes_nothing(poller: Poller, headers: dict[str, str]) -> None:
    answer = poller.client(poller.token, **headers).post("/api/tasks", json={"taskId": "x.1"})
    assert answer.status_code == 403


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_page_of_another_site_takes_no_task(tmp_path: Path, headers: dict[str, str]) -> None:
    with polled(tmp_path, has_auth=False) as poller:
        poller.gateway.put()
        assert poller.client(**headers).get("/api/tasks/poll/t").status_code == 403
        assert poller.client(**{"Sec-Fetch-Site": "none"}).get("/api/tasks/poll/t").status_code == 200


def test_nobody_needs_a_token_when_authentication_is_off(tmp_path: Path) -> None:
    with polled(tmp_path, has_auth=False) as poller:
        assert given(poller, poller.token).status_code == 404
        assert poller.client().get("/api/tasks/poll/t").status_code == 204
        assert poller.client(Host="evil.example").get("/api/tasks/poll/t").status_code == 421
        poller.gateway.put()
        assert poller.client("anything").get("/api/tasks/poll/t").status_code == 200


def test_prefixes_are_those_of_the_settings(tmp_path: Path) -> None:
    with polled(tmp_path, prefixes=("/workers/api",)) as poller:
        assert poller.http.get("/workers/api/tasks/poll/t").status_code == 204
        assert poller.http.get("/api/tasks/poll/t").status_code == 404
