"""Login through a provider of identities, as a browser does it; and all that must not log anybody in."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from reworker.clock import SystemClock
from reworker.config import Secret
from reworker.core.principal import Limits, Scope
from reworker.storage.opening import open_storage
from reworker.web.oidc.login import Attempt, OidcLogin
from reworker.web.oidc.settings import Grant, OidcSettings
from tests.integration.cli_support import reworker
from tests.support.api import Api, serving
from tests.support.oidc_provider import ANN, CLIENT_ID, CLIENT_SECRET, OidcProvider, oidc_provider
from tests.support.ports import free_port
from tests.support.processes import Process

GRANTS = {
    "boss": Grant((Scope.ADMIN,)),
    "web": Grant((Scope.READ, Scope.RUN), Limits(groups=("web",))),
}


class Place:
    """A server with a login through a provider, and browsers."""

    def __init__(self, api: Api, provider: OidcProvider) -> None:
        self.api, self.provider = api, provider
        self.open: list[httpx.Client] = []

    def browser(self) -> httpx.Client:
        """Return a browser that has been nowhere."""
        made = httpx.Client(timeout=30, trust_env=False, headers={"Accept": "text/html"})
        self.open.append(made)
        return made

    def begin(self, browser: httpx.Client, where: str = "/") -> str:
        """Begin a login; return the address at the provider."""
        answer = browser.get(f"{self.api.url}/oidc/login", params={"next": where})
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def back(self, browser: httpx.Client, where: str = "/") -> str:
        """Log in at the provider; return the address with which it sends the browser back."""
        answer = browser.get(self.begin(browser, where))
        assert answer.status_code == 302
        return answer.headers["location"]

    def log_in(self, browser: httpx.Client, where: str = "/") -> httpx.Response:
        """Log in; return the last answer."""
        return browser.get(self.back(browser, where))

    def refusal(self, browser: httpx.Client, answer: httpx.Response, status: int = 401) -> str:
        """Check that nobody is logged in; return the page."""
        assert answer.status_code == status, answer.text
        assert "reworker" not in browser.cookies
        assert me(self, browser).status_code == 401
        return answer.text


def me(place: Place, browser: httpx.Client) -> httpx.Response:
    return browser.get(f"{place.api.url}/api/v1/me")


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Place]:
    port = free_port()
    with oidc_provider() as provider:
        url = f"http://127.0.0.1:{port}"
        provider.redirect_uri = f"{url}/oidc/callback"
        settings = OidcSettings(
            issuer=provider.url,
            client_id=CLIENT_ID,
            public_url=url,
            grants=GRANTS,
            client_secret=Secret(CLIENT_SECRET),
        )
        with serving(folder, port=port, oidc=OidcLogin(settings, SystemClock())) as api:
            made = Place(api, provider)
            yield made
            for one in made.open:
                one.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with opened(tmp_path_factory.mktemp("oidc")) as made:
        yield made


@pytest.fixture
def place(shared: Place) -> Place:
    """Give a place that others had before; its provider does nothing wrong any more."""
    provider = shared.provider
    provider.who, provider.claims, provider.algorithm = dict(ANN), {}, "RS256"
    provider.requests.clear()
    return shared


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Place]:
    """Give a place whose provider was never asked for anything."""
    with opened(tmp_path) as made:
        yield made


def test_person_is_logged_in_with_the_rights_of_the_first_group_that_fits(place: Place) -> None:
    browser = place.browser()
    assert "Log in at localhost" in browser.get(f"{place.api.url}/login").text
    answer = place.log_in(browser, "/deployments?status=failed")
    assert (answer.status_code, answer.headers["location"]) == (303, "/deployments?status=failed")
    cookie = next(one for one in answer.headers.get_list("set-cookie") if one.startswith("reworker="))
    assert all(word in cookie for word in ("HttpOnly", "SameSite=lax", "Max-Age=43200"))
    assert "reworker_login" not in browser.cookies
    found = me(place, browser).json()
    assert (found["name"], found["scopes"]) == ("oidc:ann", ["read", "run"])
    assert found["limits"]["groups"] == ["web"]
    entry = place.api.access.audit(action="session.open")[0]
    assert (entry.actor, entry.detail) == ("oidc:ann", f"{place.provider.url} u1")


def test_two_logins_of_a_person_are_one_and_end_together_when_revoked(place: Place) -> None:
    place.provider.who["groups"] = ["web", "boss"]
    browsers = [place.browser(), place.browser()]
    for one in browsers:
        place.log_in(one)
        assert me(place, one).json()["scopes"] == ["admin"]
    place.provider.who = {"sub": "u2", "preferred_username": "bob", "groups": "web"}
    other = place.browser()
    place.log_in(other)
    page = browsers[0].get(f"{place.api.url}/admin").text
    assert page.count("oidc:ann") >= 2
    origin = {"Origin": place.api.url}
    data = {"name": "oidc:ann", "confirm": "yes"}
    answer = browsers[0].post(f"{place.api.url}/admin/people", data=data, headers=origin)
    assert answer.status_code == 303
    assert [me(place, one).status_code for one in (*browsers, other)] == [401, 401, 200]
    (entry,) = place.api.access.audit(action="session.revoke")
    assert (entry.actor, entry.target) == ("oidc:ann", "oidc:ann")


def test_logout_ends_the_session(place: Place) -> None:
    browser = place.browser()
    place.log_in(browser)
    kept = browser.cookies["reworker"]
    browser.post(f"{place.api.url}/logout", headers={"Origin": place.api.url})
    assert "reworker" not in browser.cookies
    browser.cookies.set("reworker", kept, domain="127.0.0.1")
    assert me(place, browser).status_code == 401


def test_person_without_a_group_of_ours_is_told_so_and_may_do_nothing(place: Place) -> None:
    browser = place.browser()
    for groups in (["visitors"], None, 7, [["web"]], {"web": 1}):
        place.provider.who["groups"] = groups
        text = place.refusal(browser, place.log_in(browser), 403)
        assert "oidc:ann" in text
        assert "no group of yours" in text
    denied = place.api.access.audit(action="session.open", outcome="denied")
    assert [one.actor for one in denied] == ["oidc:ann"] * 5


def test_person_gets_no_right_of_a_token_with_the_same_name(place: Place) -> None:
    place.api.token(Scope.ADMIN, name="ann")
    browser = place.browser()
    place.log_in(browser)
    assert me(place, browser).json()["name"] == "oidc:ann"


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"nonce": "0" * 64}, "belongs to another login"),
        ({"nonce": None}, "nonce"),
        ({"nonce": 7}, "belongs to another login"),
        ({"aud": "other"}, "udience"),
        ({"aud": [CLIENT_ID, "other"]}, "another application"),
        ({"azp": "other"}, "another application"),
        ({"iss": "https://evil.example"}, "ssuer"),
        ({"exp": int(time.time()) - 90}, "expired"),
        ({"exp": None}, "exp"),
        ({"iat": int(time.time()) + 4000}, "not yet valid"),
        ({"sub": None}, "sub"),
        ({"preferred_username": "ann\u202e"}, "no name"),
        ({"preferred_username": " ann"}, "no name"),
        ({"preferred_username": "x" * 200}, "no name"),
    ],
)
def test_nobody_is_logged_in_by_a_token_that_is(place: Place, claims: dict[str, Any], why: str) -> None:
    place.provider.claims = claims
    browser = place.browser()
    assert why in place.refusal(browser, place.log_in(browser))


def test_clock_of_the_provider_may_be_wrong_by_half_a_minute(place: Place) -> None:
    place.provider.claims = {"exp": int(time.time()) - 30}
    browser = place.browser()
    assert place.log_in(browser).status_code == 303


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_nobody_is_logged_in_by_a_signature_that_proves_nothing(place: Place, algorithm: str) -> None:
    place.provider.algorithm = algorithm
    browser = place.browser()
    assert "proves nothing" in place.refusal(browser, place.log_in(browser))


def test_key_is_asked_for_again_when_it_is_new(fresh: Place) -> None:
    assert fresh.log_in(fresh.browser()).status_code == 303
    fresh.provider.rotate("k2")
    assert fresh.log_in(fresh.browser()).status_code == 303
    assert fresh.log_in(fresh.browser()).status_code == 303
    assert fresh.provider.requests.count("/keys") == 2


def test_nobody_is_logged_in_by_a_key_that_the_provider_does_not_show(fresh: Place) -> None:
    fresh.provider.shown = fresh.provider.jwks()
    fresh.provider.rotate("k9")
    browser = fresh.browser()
    assert "k9" in fresh.refusal(browser, fresh.log_in(browser))
    fresh.provider.kid = "k1"
    assert "Signature" in fresh.refusal(browser, fresh.log_in(browser))


def test_nobody_is_logged_in_by_a_state_that_is_not_that_of_the_browser(place: Place) -> None:
    browser = place.browser()
    url = place.back(browser)
    assert "another browser" in place.refusal(
        browser, browser.get(url[:-1] + ("0" if url[-1] != "0" else "1"))
    )
    assert "/token" not in place.provider.requests


@pytest.mark.parametrize("has_begun", [False, True])
def test_nobody_is_logged_in_as_somebody_else_by_a_link(place: Place, has_begun: bool) -> None:
    url, victim = place.back(place.browser()), place.browser()
    if has_begun:
        place.begin(victim)
    place.refusal(victim, victim.get(url))
    assert "/token" not in place.provider.requests


def test_code_counts_once(place: Place) -> None:
    browser = place.browser()
    url = place.back(browser)
    kept = browser.cookies["reworker_login"]
    assert browser.get(url).status_code == 303
    thief = place.browser()
    thief.cookies.set("reworker_login", kept, domain="127.0.0.1")
    assert "did not take the code" in place.refusal(thief, thief.get(url))


def test_login_ends_after_ten_minutes_and_its_cookie_cannot_be_changed(place: Place) -> None:
    for change in (lambda begun: begun - 700, lambda begun: begun - 5, lambda begun: begun + 700):
        browser = place.browser()
        url = place.back(browser)
        secret, begun, where = browser.cookies["reworker_login"].split(".")
        browser.cookies.clear()
        changed = f"{secret}.{change(int(begun))}.{where}"
        browser.cookies.set("reworker_login", changed, domain="127.0.0.1")
        place.refusal(browser, browser.get(url))
    assert "/token" not in place.provider.requests


@pytest.mark.parametrize("age_s", [660, -60])
def test_login_counts_for_ten_minutes_only(place: Place, age_s: int) -> None:
    browser = place.browser()
    attempt = Attempt("0" * 64, int(time.time()) - age_s, "/")
    browser.cookies.set("reworker_login", attempt.cookie, domain="127.0.0.1")
    said = {"code": "x", "state": attempt.word("state")}
    answer = browser.get(f"{place.api.url}/oidc/callback", params=said)
    assert "within the last 10 minutes" in place.refusal(browser, answer)
    assert "/token" not in place.provider.requests


@pytest.mark.parametrize(
    "cookie", ["x", "0" * 64, f"{'0' * 64}.1.===", f"{'0' * 64}.9999999999.Lw==", "a" * 9000]
)
def test_cookies_that_we_never_made_are_refused(place: Place, cookie: str) -> None:
    browser = place.browser()
    url = place.back(browser)
    browser.cookies.clear()
    browser.cookies.set("reworker_login", cookie, domain="127.0.0.1")
    place.refusal(browser, browser.get(url))


@pytest.mark.parametrize(
    "where", ["https://evil.example/", "//evil.example", "/\\evil.example", "/" + "x" * 3000]
)
def test_login_leads_to_no_other_site(place: Place, where: str) -> None:
    browser = place.browser()
    assert place.log_in(browser, where).headers["location"] == "/"


def test_word_of_the_provider_is_shown_when_it_says_no(place: Place) -> None:
    browser = place.browser()
    state = parse_qs(urlsplit(place.begin(browser)).query)["state"][0]
    url = f"{place.api.url}/oidc/callback"
    answer = browser.get(url, params={"error": "access_denied<b>", "state": state})
    text = place.refusal(browser, answer)
    assert "access_denied&lt;b&gt;" in text
    place.begin(browser)
    assert "another browser" in place.refusal(browser, browser.get(url, params={"error": "x"}))


def test_token_logs_in_when_the_provider_is_away(fresh: Place) -> None:
    fresh.provider.is_away = True
    browser = fresh.browser()
    answer = browser.get(f"{fresh.api.url}/oidc/login")
    assert "a token logs in as ever" in fresh.refusal(browser, answer, 502)
    origin = {"Origin": fresh.api.url}
    browser.post(f"{fresh.api.url}/login", data={"token": fresh.api.token(name="ann")}, headers=origin)
    assert me(fresh, browser).json()["name"] == "ann"
    fresh.provider.is_away = False
    assert fresh.log_in(fresh.browser()).status_code == 303


def test_provider_that_leads_elsewhere_is_not_followed(fresh: Place) -> None:
    browser, provider = fresh.browser(), fresh.provider
    provider.redirects = {"/.well-known/openid-configuration": f"{provider.url}/elsewhere"}
    fresh.refusal(browser, browser.get(f"{fresh.api.url}/oidc/login"), 502)
    assert "/elsewhere" not in provider.requests
    provider.redirects, provider.wrong_issuer = {}, "https://evil.example"
    assert "evil.example" in fresh.refusal(browser, browser.get(f"{fresh.api.url}/oidc/login"), 502)


def test_address_answers_with_404_when_no_provider_is_set_up(tmp_path: Path) -> None:
    with serving(tmp_path) as api:
        for path in ("login", "callback"):
            answer = httpx.get(
                f"{api.url}/oidc/{path}", trust_env=False, timeout=30, headers={"Accept": "text/html"}
            )
            assert answer.status_code == 404
            assert "log in with a token" in answer.text


def test_command_logs_people_in_with_a_secret_that_is_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{CLIENT_SECRET}\n")
    (tmp_path / "groups.yaml").write_text("web: {scopes: [read]}\n")
    open_storage(db := f"sqlite:///{tmp_path / 'web.db'}").close()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with oidc_provider() as provider, httpx.Client(trust_env=False, timeout=30) as browser:
        provider.redirect_uri = f"{url}/oidc/callback"
        options = ("--oidc-issuer", provider.url, "--oidc-client-id", CLIENT_ID, "--public-url", url)
        files = ("--oidc-client-secret-file", "secret", "--oidc-groups-file", "groups.yaml")
        command = ("-m", "reworker", "web", "--db", db, "--port", str(port), *options, *files)
        with contextlib.closing(Process(*command, folder=tmp_path)) as process:
            process.wait_for_line("ready:", 60.0)
            answer = browser.get(f"{url}/oidc/login", follow_redirects=True)
            assert "Log out oidc:ann" in " ".join(answer.text.split()), answer.text
            assert browser.get(f"{url}/api/v1/me").json()["scopes"] == ["read"]
            assert CLIENT_SECRET not in process.output


def test_command_says_what_is_wrong_before_it_serves(tmp_path: Path) -> None:
    found = reworker("web", "--db", "sqlite:///x.db", "--oidc-client-id", "x", folder=tmp_path)
    assert (found.returncode, "oidc_issuer" in found.stderr) == (2, True), found.stderr
