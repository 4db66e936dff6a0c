"""Pages over HTTP as a browser asks for them: who may pass, what is kept, what is sent back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from reworker.core.principal import Limits, Scope
from reworker.web.pages.assets import asset_url
from reworker.web.pages.page_routes import FIELD_COUNT
from tests.browser.house import House, house, playbook_text

PARAMS = {"version": {"type": "string"}, "count": {"type": "integer", "minimum": 1, "default": 3}}
Visitor = Callable[..., httpx.Client]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("house"), has_auth=True) as made:
        yield made


@pytest.fixture
def visitor(home: House) -> Iterator[Visitor]:
    """Give a function that returns a browser, logged in with a token of these scopes if any are given."""
    opened: list[httpx.Client] = []

    def enter(*scopes: Scope, limits: Limits | None = None) -> httpx.Client:
        client = httpx.Client(
            base_url=home.url, headers={"Origin": home.url, "Accept": "text/html"}, timeout=30
        )
        opened.append(client)
        if scopes:
            _, token = home.access.create_token("visitor", scopes, limits)
            assert client.post("/login", data={"token": token}).status_code == 303
        return client

    yield enter
    for one in opened:
        one.close()


def run_form(client: httpx.Client, playbook_id: str) -> dict[str, str]:
    """Return what the form that starts a playbook sends without a change."""
    text = client.get(f"/playbooks/{playbook_id}/run").text
    found = re.search(r'name="key" value="([0-9a-f]+)"', text)
    assert found is not None
    return {"key": found[1], "do": "start"}


def test_pages_ask_for_a_login_when_nobody_is_logged_in(visitor: Visitor) -> None:
    client = visitor()
    answer = client.get("/deployments?status=failed&q=a%26b")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Fdeployments%3Fstatus%3Dfailed%26q%3Da%2526b"
    polled = client.get("/", headers={"X-Live": "1"})
    assert (polled.status_code, polled.headers["hx-redirect"]) == (401, "/login")


def test_session_is_kept_in_a_cookie_that_scripts_do_not_get(home: House, visitor: Visitor) -> None:
    client = visitor()
    answer = client.post("/login", data={"token": home.token, "next": "/deployments?q=a"})
    assert answer.headers["location"] == "/deployments?q=a"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert home.token not in cookie
    assert client.get("/deployments").status_code == 200
    session = client.cookies["reworker"]
    client.post("/logout")
    client.cookies.set("reworker", session)
    assert client.get("/deployments").status_code == 303


@pytest.mark.parametrize(
    "where",
    ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/\tx", "/a\nb"],
)
def test_login_leads_to_own_pages_only_when_told_another(where: str, home: House, visitor: Visitor) -> None:
    answer = visitor().post("/login", data={"token": home.token, "next": where})
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_forms_of_other_sites_do_nothing_when_sent(
    headers: dict[str, str], home: House, visitor: Visitor
) -> None:
    client = visitor(Scope.ADMIN)
    before = len(home.access.tokens(limit=1000))
    answer = client.post("/admin", data={"name": "evil", "scope": "admin"}, headers=headers)
    assert answer.status_code == 403
    assert len(home.access.tokens(limit=1000)) == before
    assert visitor().post("/login", data={"token": home.token}, headers=headers).status_code == 403


def test_nothing_is_done_by_any_page_when_a_token_may_only_read(home: House, visitor: Visitor) -> None:
    row = home.service.library.store(playbook_text("guarded"), actor="alice")
    own_id = home.start(playbook_text("guarded", {"approval": "go on?"}))
    client = visitor(Scope.READ)
    own = f"/playbooks/{row.id}"
    assert client.get(own).status_code == 200
    for path in ("/playbooks/new", f"{own}/run", f"{own}/edit", f"{own}/remove", "/admin", "/admin/audit"):
        assert client.get(path).status_code == 403, path
    forms = {
        f"{own}/run": {"key": "k", "do": "start"},
        f"{own}/edit": {"text": playbook_text("changed"), "version": "1", "do": "store"},
        f"{own}/remove": {"confirm": "yes"},
        "/playbooks/new": {"text": playbook_text("new"), "do": "store"},
        "/admin": {"name": "x", "scope": "read"},
    }
    for path, data in forms.items():
        assert client.post(path, data=data).status_code == 403, path
    client.post("/deployments/bulk", data={"act": "cancel", "id": own_id})
    home.run()
    assert str(home.service.deployment(own_id).state.status) == "waiting"
    assert home.service.library.playbook(row.id).version == 1
    denied = home.access.audit(outcome="denied", target=f"{own}/remove")
    # both in one millisecond of this clock, so in any order
    assert sorted(one.action for one in denied) == ["page.get", "page.post"]


def test_other_groups_are_not_there_when_a_token_is_for_one(home: House, visitor: Visitor) -> None:
    row = home.service.library.store(playbook_text("of the web"), actor="alice")
    own_id = home.start(playbook_text("of the web"))
    client = visitor(Scope.READ, Scope.CANCEL, limits=Limits(groups=("db",)))
    for path in ("/", "/deployments", "/playbooks", f"/deployments/bulk?act=cancel&id={own_id}"):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert "of the web" not in answer.text, path
    assert client.get(f"/playbooks/{row.id}").status_code == 403


def test_a_deployment_is_started_once_when_the_form_is_sent_twice(home: House, visitor: Visitor) -> None:
    row = home.service.library.store(playbook_text("once", params=PARAMS), actor="alice")
    client = visitor(Scope.READ, Scope.RUN)
    data = {**run_form(client, row.id), "param.version": "1.10", "param.count": "5", "reason": "a try"}
    first, second = (client.post(f"/playbooks/{row.id}/run", data=data) for _ in range(2))
    assert first.headers["location"] == second.headers["location"]
    own_id = first.headers["location"].rpartition("/")[2]
    assert home.service.plan(own_id).dynamic == {"version": "1.10", "count": 5}
    other = client.post(f"/playbooks/{row.id}/run", data={**data, "param.version": "2"})
    assert other.headers["location"] == f"/deployments/{own_id}"
    assert "was started already" in client.get("/deployments").text
    assert [one.row.id for one in home.service.deployments(limit=1000) if one.row.name == "once"] == [own_id]


def test_domains_of_the_form_are_those_of_the_deployment(home: House, visitor: Visitor) -> None:
    row = home.service.library.store(playbook_text("apart"), actor="alice")
    client, path = visitor(Scope.READ, Scope.RUN), f"/playbooks/{row.id}/run"
    data = {**run_form(client, row.id), "domains": " blue, NO_DOMAIN\r\n\r\nnoop = green "}
    seen = client.post(path, data={**data, "do": "preview"}).text
    assert "in domain green" in seen
    assert " blue, NO_DOMAIN\n\nnoop = green </textarea>" in seen
    started = client.post(path, data=data)
    own_id = started.headers["location"].rpartition("/")[2]
    plan = home.service.plan(own_id)
    assert (plan.domains, plan.step(0).domains) == (
        {"*": ("blue", "NO_DOMAIN"), "noop": ("green",)},
        ("green",),
    )
    assert "domain blue, else no domain; noop: domain green" in client.get(f"/deployments/{own_id}").text
    # another domain is another request, and starts nothing with the same key
    again = client.post(path, data={**data, "domains": "blue"})
    assert again.headers["location"] == f"/deployments/{own_id}"
    assert "was started already" in client.get("/deployments").text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"domains": "a b"}, "is no domain: 1 to"),
        ({"domains": "blue\ngreen"}, "the domains of all commands are given twice"),
        ({"domains": "other=blue"}, "a command that no step has"),
        ({"domains": "other=blue", "do": "preview"}, "a command that no step has"),
        ({"param.version": ""}, "is missing"),
        ({"param.count": "0"}, "less than the minimum"),
        ({"param.count": "many"}, "is not of type"),
        ({"key": ""}, "the form has lost its key"),
    ],
)
def test_nothing_is_started_when_values_do_not_fit(
    change: dict[str, str], words: str, home: House, visitor: Visitor
) -> None:
    row = home.service.library.store(playbook_text("misfit", params=PARAMS), actor="alice")
    client = visitor(Scope.READ, Scope.RUN)
    data = {**run_form(client, row.id), "param.version": "1", "reason": "kept words", **change}
    answer = client.post(f"/playbooks/{row.id}/run", data=data)
    assert answer.status_code in (400, 422)
    assert words in answer.text
    assert all(one.row.name != "misfit" for one in home.service.deployments())


def test_another_version_is_not_started_than_the_form_has_shown(home: House, visitor: Visitor) -> None:
    row = home.service.library.store(playbook_text("shown"), actor="alice")
    client, path = visitor(Scope.READ, Scope.RUN), f"/playbooks/{row.id}/run"
    data = {**run_form(client, row.id), "version": "1", "reason": "kept words"}
    assert 'name="version" value="1"' in client.get(path).text
    home.service.library.store(playbook_text("shown no more"), actor="bob", playbook_id=row.id)
    for do in ("preview", "start"):
        answer = client.post(path, data={**data, "do": do})
        assert answer.status_code == 409
        assert "Somebody has stored version 2 meanwhile" in answer.text
        assert "kept words" in answer.text
    assert all("shown" not in one.row.name for one in home.service.deployments())
    assert client.post(path, data={**data, "version": "2"}).status_code == 303


def test_lists_say_for_whom_a_deployment_waits_now(home: House, visitor: Visitor) -> None:
    text = playbook_text("in line", {"approval": "go on?"}, hosts=("line1",), locks=True)
    first, second, third = (home.start(text) for _ in range(3))
    home.service.cancel(first, actor="alice")
    home.run()
    client = visitor(Scope.READ)
    for path in ("/", "/deployments?q=in+line"):
        shown = client.get(path).text
        assert f"waits for host line1, which deployment {second} holds" in shown, path
        assert f"which deployment {first}" not in shown, path
    for one in (second, third):
        home.service.cancel(one, actor="alice")
    home.run()


def test_lists_count_the_steps_that_completed_when_a_deployment_has_failed(
    home: House, visitor: Visitor
) -> None:
    home.workers.failing.add("web1 Check")
    row = home.service.library.store(playbook_text("half done", "noop:Do", "noop:Check"), actor="alice")
    home.start(row.text, playbook_id=row.id)
    client = visitor(Scope.READ)
    for path in ("/deployments?q=half", f"/playbooks/{row.id}"):
        assert '<span class="number">1<span class="faint">/2</span></span>' in client.get(path).text, path


def test_a_change_is_not_lost_when_somebody_else_was_faster(home: House, visitor: Visitor) -> None:
    row = home.service.library.store(playbook_text("shared"), actor="alice")
    home.service.library.store(playbook_text("shared by bob"), actor="bob", playbook_id=row.id)
    client, path = visitor(Scope.READ, Scope.PLAYBOOK_WRITE), f"/playbooks/{row.id}/edit"
    mine = playbook_text("shared by me")
    answer = client.post(path, data={"text": mine, "version": "1", "do": "store"})
    assert answer.status_code == 409
    assert "shared by bob" in answer.text
    assert "shared by me" in answer.text
    assert home.service.library.playbook(row.id).name == "shared by bob"
    answer = client.post(path, data={"text": mine, "version": "2", "do": "store"})
    assert answer.status_code == 303
    assert home.service.library.playbook(row.id).name == "shared by me"
    assert "shared by me" in client.get(f"/playbooks/{row.id}/diff?from=1&to=3").text


def test_pages_are_not_sent_again_when_nothing_has_changed(home: House, visitor: Visitor) -> None:
    client = visitor(Scope.READ)
    tag = client.get("/deployments").headers["etag"]
    again = client.get("/deployments", headers={"If-None-Match": tag, "X-Live": "1"})
    assert (again.status_code, again.content) == (304, b"")
    home.start(playbook_text("something new"))
    assert client.get("/deployments", headers={"If-None-Match": tag}).status_code == 200


def test_lists_go_on_behind_the_last_row_when_there_are_more(home: House, visitor: Visitor) -> None:
    for number in range(102):
        home.service.submit(playbook_text(f"many {number}"), actor="crowd")
    client = visitor(Scope.READ)
    text = client.get("/deployments?actor=crowd").text
    assert text.count("data-row") == 100
    older = re.search(r'href="(/deployments\?[^"]*before=[0-9a-f]+)"', text)
    assert older is not None
    assert client.get(older[1].replace("&amp;", "&")).text.count("data-row") == 2


def test_assets_are_kept_for_ever_when_their_name_says_what_they_hold(visitor: Visitor) -> None:
    client = visitor()
    answer = client.get(asset_url("app.js"))
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-encoding"] == "gzip"
    assert client.get("/static/app.000000000000.js").status_code == 404
    assert client.get("/static/..%2fapp.py").status_code == 404


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"token": "x"}', "application/json", 415),
        (b"token=%ff%fe", "application/x-www-form-urlencoded", 400),
        (b"token=" + b"\xff", "application/x-www-form-urlencoded", 400),
        (urlencode([("id", "x")] * (FIELD_COUNT + 1)).encode(), "application/x-www-form-urlencoded", 400),
    ],
)
def test_a_form_is_refused_when_it_cannot_be_read(
    body: bytes, kind: str, status: int, visitor: Visitor
) -> None:
    answer = visitor().post("/login", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert "text/html" in answer.headers["content-type"]


def test_the_first_admin_is_made_once_when_the_link_is_used(tmp_path: Path) -> None:
    with house(tmp_path, has_auth=True) as fresh:
        assert fresh.access.revoke(fresh.access.tokens()[0].id)
        secret = fresh.access.first_link()
        with httpx.Client(base_url=fresh.url, headers={"Origin": fresh.url}, timeout=30) as client:
            assert client.get(f"/login/{secret}").status_code == 200
            answer = client.post(f"/login/{secret}")
            found = re.search(r"rw_[0-9a-f]{24}_[0-9a-f]{64}", answer.text)
            assert found is not None
            assert fresh.access.principal_of(found[0]).scopes == {Scope.ADMIN}
            assert client.get("/admin").status_code == 200
            assert found[0] not in client.get("/admin").text
        with httpx.Client(base_url=fresh.url, headers={"Origin": fresh.url}, timeout=30) as other:
            again = other.post(f"/login/{secret}")
            assert (again.status_code, "has been used" in again.text) == (401, True)
            assert other.get("/admin").status_code == 303


def test_cookies_are_for_https_only_when_the_outside_speaks_it(tmp_path: Path) -> None:
    with house(tmp_path, has_auth=True, is_tls=True) as made:
        headers = {"Origin": made.url.replace("http:", "https:")}
        answer = httpx.post(f"{made.url}/login", data={"token": made.token}, headers=headers, timeout=30)
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-reworker=")
        assert "Secure" in cookie


def test_page_that_is_not_there_says_what_was_looked_for_and_where_to_go(
    home: House, visitor: Visitor
) -> None:
    client = visitor(Scope.READ)
    secret, long = "a" * 64, "/x" * 2000
    answer = client.get(f"/playbooks/<b>/{secret}")
    assert answer.status_code == 404
    assert "There is no page /playbooks/&lt;b&gt;/***." in answer.text
    assert '<a class="button primary" href="/playbooks">Go to Playbooks</a>' in answer.text
    assert f"There is no page {'/x' * 100}. The address" in client.get(long).text
    gone = client.get(f"/deployments/{'5' * 24}")
    assert "5" * 24 in gone.text
    assert "Go to Deployments" in gone.text
    # who is not logged in may not go there
    assert "Go to Playbooks" not in visitor().get("/playbooks/no/such").text
