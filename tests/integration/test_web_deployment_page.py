"""The pages about a deployment over HTTP: who may do what, and what odd requests get."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from reworker.core.principal import Limits, Scope
from tests.browser import deployments
from tests.browser.house import House, house, playbook_text
from tests.support.api import playbook

#: what follows the address of a deployment; none of it may be a fault of the server.
ODD = (
    "?x=1",
    "/hosts?sequence=99999999999&group=nope&page=-1&host=%00%F0",
    "/hosts?sequence=1&page=999999",
    "/timeline?before=2147483647",
    "/timeline?before=-1",
    "/log?before=1",
    "/log?before=99999999999999999999",
    "/log?line=abc&attempt=%E2%91%A0",
    "/log?q=%25_%27%22%3Cscript%3E",
    "/log/lines?after=-5",
    "/log.txt?line=77",
    "/events?before=1",
    "/events?before=1e9",
    "/messages?step=2147483647",
    "/messages?before=1",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("guarded"), has_auth=True) as made:
        yield made


@pytest.fixture(scope="module")
def waiting(home: House) -> str:
    return home.start(playbook_text("gate", "noop:Do", {"approval": "go on?"}))


def client(home: House, *scopes: Scope, limits: Limits | None = None) -> httpx.Client:
    """Return a browser of somebody whose token has these scopes."""
    token = home.access.create_token("bob", list(scopes), limits or Limits())[1]
    headers = {"Authorization": f"Bearer {token}", "Sec-Fetch-Site": "same-origin"}
    return httpx.Client(base_url=home.url, headers=headers, trust_env=False, timeout=30)


def test_page_says_what_a_reader_may_not_do_and_refuses_it(home: House, waiting: str) -> None:
    with client(home, Scope.READ) as reader:
        page = reader.get(f"/deployments/{waiting}").text
        assert "not allowed: this needs the scope cancel" in page
        assert "You may not answer: this needs the scope approve" in page
        asked = reader.get(f"/deployments/{waiting}/cancel").text
        assert "You may not do this: this needs the scope cancel" in asked
        assert "<form class" not in asked.partition("act-title")[2]
        for name, form in (("cancel", {}), ("approve", {"attempt": "2"}), ("retry", {})):
            assert reader.post(f"/deployments/{waiting}/{name}", data=form).status_code == 403, name
    assert home.world.status(waiting) == "waiting"


def test_deployment_of_another_group_is_not_seen(home: House, waiting: str) -> None:
    with client(home, Scope.ADMIN, limits=Limits(groups=("other",))) as stranger:
        paths = (
            "",
            "/log",
            "/log/lines",
            "/log.txt",
            "/events",
            "/messages",
            "/attempts/1",
            "/plan",
            "/hosts",
        )
        codes = {stranger.get(f"/deployments/{waiting}{path}").status_code for path in (*paths, "/timeline")}
    assert codes <= {403, 404}


def test_ended_deployment_is_run_again_once_for_a_form(home: House) -> None:
    own_id = home.start(playbook_text("over", {"approval": "go on?"}, hosts=("anew",)))
    with client(home, Scope.READ, Scope.RUN) as runner:
        assert "There is nothing to run again" in runner.get(f"/deployments/{own_id}/again").text
        home.world.core.service.cancel(own_id)
        home.run()
        assert f'href="/deployments/{own_id}/again"' in runner.get(f"/deployments/{own_id}").text
        form = runner.get(f"/deployments/{own_id}/again").text
        assert "same text with the same values: 1 step" in form
        key = form.partition('name="key" value="')[2].partition('"')[0]
        first, second = (
            runner.post(f"/deployments/{own_id}/again", data={"key": key, "reason": "r"}) for _ in range(2)
        )
    assert first.headers["location"] == second.headers["location"] != f"/deployments/{own_id}"
    made = first.headers["location"].rpartition("/")[2]
    assert home.world.storage.reader.deployment(made).name == "over"
    with client(home, Scope.READ) as reader:
        assert reader.post(f"/deployments/{own_id}/again", data={"key": "k"}).status_code == 403
    home.world.core.service.cancel(made)


def test_page_does_not_lead_to_a_deployment_of_others(home: House) -> None:
    holder = home.world.core.service.submit(playbook("payments", name="holder", hosts="[shared]"))
    own_id = home.world.core.service.submit(playbook("web", name="late", hosts="[shared]"))
    link = f'href="/deployments/{holder}"'
    with client(home, Scope.READ, limits=Limits(groups=("web",))) as limited:
        page = limited.get(f"/deployments/{own_id}").text
        assert ("waits for host shared" in page, link in page) == (True, False)
    with client(home, Scope.READ) as reader:
        assert link in reader.get(f"/deployments/{own_id}").text
    for one in (own_id, holder):
        home.world.core.service.cancel(one)


@pytest.mark.parametrize("path", ODD)
def test_odd_question_is_answered(path: str, home: House, waiting: str) -> None:
    with client(home, Scope.READ) as reader:
        assert reader.get(f"/deployments/{waiting}{path}").status_code == 200


@pytest.mark.parametrize(
    "path", ["x", "0" * 24, "{}/nope", "{}/attempts/0", "{}/attempts/x", "{}/attempts/99", "{}/"]
)
def test_address_of_nothing_is_not_found(path: str, home: House, waiting: str) -> None:
    with client(home, Scope.READ) as reader:
        assert reader.get(f"/deployments/{path.format(waiting)}").status_code == 404


def test_odd_forms_change_nothing(home: House, waiting: str) -> None:
    with client(home, Scope.ADMIN) as admin:
        url = f"/deployments/{waiting}"
        assert admin.post(f"{url}/approve", data={"attempt": "x"}).status_code == 422
        assert admin.post(f"{url}/decide", data={"decision": "no", "reason": "r"}).status_code == 422
        assert admin.post(f"{url}/decide", data={"decision": "fail"}).status_code == 303
        assert admin.post(f"{url}/cancel", json={}).status_code == 415
        unresumable = admin.post(f"{url}/retry", data={"hosts": "named", "names": ""})
        assert unresumable.headers["location"].startswith(f"{url}/retry?")
    assert home.world.status(waiting) == "waiting"


def test_second_cancel_says_that_nothing_was_changed(home: House) -> None:
    own_id = home.start(playbook_text("twice", {"approval": "go on?"}))
    with client(home, Scope.READ, Scope.CANCEL) as canceller:
        for words in ("is being cancelled", "Nothing was changed"):
            answer = canceller.post(f"/deployments/{own_id}/cancel", data={"reason": "twice"})
            assert answer.status_code == 303
            assert words in canceller.get(answer.headers["location"]).text
            home.run()
    done = home.world.storage.reader.audit(limit=10, target=own_id, action="deployment.cancel")
    assert sorted(one.outcome for one in done) == ["done", "failed"]
    details = {one.outcome: one.detail for one in done}
    assert details["done"] == "twice"
    assert details["failed"].endswith("; twice")


def test_file_has_all_lines_escaped(home: House, waiting: str) -> None:
    deployments.add_lines(home, waiting, [f"line {number} \x1b[0m" for number in range(4500)])
    with client(home, Scope.READ) as reader:
        lines = reader.get(f"/deployments/{waiting}/log.txt").text.splitlines()
        one = reader.get(f"/deployments/{waiting}/log.txt?line=4500").text
    assert len(lines) == 4500
    assert lines[-1] == one.rstrip("\n")
    assert one.endswith("\tline 4499 \\x1b[0m\n")


def test_secrets_are_masked_on_every_page(home: House) -> None:
    own_id = deployments.release(home)
    with client(home, Scope.READ) as reader:
        pages = [reader.get(f"/deployments/{own_id}{path}").text for path in ("/plan", "/attempts/1")]
    for page in pages:
        assert "***" in page
        assert "hunter22" not in page
        assert "pa55word" not in page
