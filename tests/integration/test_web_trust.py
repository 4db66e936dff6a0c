"""Whom the HTTP side believes: a server before it, and what browsers add by themselves."""

from __future__ import annotations

import sqlite3
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from reworker.core.principal import Scope
from tests.support.api import Api, playbook, serving
from tests.support.certificates import make_certificate

FOREIGN = (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://[evil"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Serve behind a server of this machine that names people in ``X-User``."""
    folder = tmp_path_factory.mktemp("trust")
    with serving(folder, trusted_proxies=("127.0.0.1",), remote_user_header="X-User") as made:
        made.token(Scope.ADMIN, name="ann")
        made.token(Scope.READ, name="bob")
        yield made


def old(api: Api, **headers: str) -> httpx.Client:
    """Return a client of the API of 2014."""
    return api.anybody(headers=headers, follow_redirects=False)


def changing(api: Api, client: httpx.Client, headers: dict[str, str] | list[tuple[str, str]]) -> int:
    """Change a stored playbook as a form of any page could; return the status."""
    own_id = api.service.library.store(playbook(), actor="ann").id
    url = f"{api.url}/api/v0/web/playbook/{own_id}/"
    answer = client.post(url, content=playbook(name="evil"), headers=headers)
    assert ("evil" in api.service.library.playbook(own_id).text) is (answer.status_code == 200)
    return answer.status_code


@pytest.mark.parametrize("headers", FOREIGN)
def test_pages_of_other_sites_change_nothing_by_the_api_of_2014(api: Api, headers: dict[str, str]) -> None:
    assert changing(api, old(api, **{"X-User": "ann"}), headers | {"Content-Type": "text/plain"}) == 403


def test_pages_of_other_sites_change_nothing_by_a_password_that_a_browser_kept(tmp_path: Path) -> None:
    with serving(tmp_path) as api:
        client = api.anybody(auth=("ann", api.token()))
        for headers in FOREIGN:
            assert changing(api, client, headers) == 403
        assert changing(api, client, {}) == 200


def test_nobody_is_believed_when_two_names_come(api: Api) -> None:
    assert changing(api, old(api), {"X-User": "ann"}) == 200
    assert changing(api, old(api), [("X-User", "ann"), ("X-User", "bob")]) == 401


def test_denials_by_the_api_of_2014_are_in_the_audit(api: Api) -> None:
    assert changing(api, old(api), {"X-User": "bob"}) == 403
    (first, *_) = api.access.audit(outcome="denied")
    assert (first.actor, first.action) == ("bob", "api_v0.post")


def test_address_is_that_which_the_server_before_us_has_added(api: Api) -> None:
    token = api.token(Scope.READ, name="caller")
    said = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "7.7.7.7, 192.0.2.1")]
    client = api.anybody(headers=[("Authorization", f"Bearer {token}"), *said])
    assert client.get("/tokens").status_code == 403
    assert api.access.audit(actor="caller")[0].source_ip == "192.0.2.1"


@pytest.mark.parametrize("headers", FOREIGN)
def test_forms_of_other_sites_log_nobody_in(api: Api, headers: dict[str, str]) -> None:
    answer = httpx.post(f"{api.url}/login", data={"token": api.token()}, headers=headers, timeout=30)
    assert (answer.status_code, answer.headers.get("set-cookie")) == (403, None)


def test_cookie_is_for_https_only_when_we_speak_it_ourselves(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=str(made.cert))
    with serving(tmp_path, tls_certificate=str(made.cert), tls_key=str(made.key)) as api:
        url = api.url.replace("127.0.0.1", "localhost")
        with httpx.Client(base_url=url, verify=trusting, headers={"Origin": url}, timeout=30) as browser:
            cookies = browser.post("/login", data={"token": api.token()}).headers["set-cookie"]
            assert cookies.startswith("__Host-reworker=")
            assert "Secure" in cookies
            gone = browser.post("/logout").headers.get_list("set-cookie")
            assert all("Secure" in one for one in gone)


def test_log_has_the_faults_of_pages_but_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = "a" * 64
    with serving(tmp_path) as api:
        with sqlite3.connect(tmp_path / "api.db") as database:
            database.execute("DROP TABLE token")
        answer = httpx.post(f"{api.url}/login/{secret}", timeout=30)
    assert answer.status_code >= 500
    assert "POST /login/*** failed" in caplog.text
    assert secret not in caplog.text
