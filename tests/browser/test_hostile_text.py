"""Stored text is text: nothing of it runs, turns or hides anything, on any page."""

from __future__ import annotations

import pytest

from reworker.core.principal import Limits, Principal, Scope
from tests.browser.conftest import Open
from tests.browser.house import HOSTILE, House, playbook_text

#: how a character that turns what follows is shown.
TURN, SHOWN = "\u202e", "\\u202e"


def test_no_stored_text_runs_when_it_is_shown(home: House, eyes: Open) -> None:
    paths = poisoned(home)
    window = eyes(home.url)
    for path in paths:
        window.go(path)
        assert not window.was_evil(), path
        assert "<script>evil()</script>" in window.page.content().replace("&lt;", "<").replace("&gt;", ">"), (
            path
        )
        assert window.find("img[src=x]").count() == 0, path
        shown = window.text()
        assert TURN not in shown, path


def poisoned(home: House) -> list[str]:
    """Store hostile text wherever text can be stored; return the pages that show it."""
    clean = HOSTILE.replace(TURN, "").replace("\u202c", "")
    text = playbook_text(clean, hosts=("web1",), group=clean, environment=clean, params=_params())
    row = home.service.library.store(text, actor=HOSTILE)
    home.service.library.store(text.replace("web1", "web2"), actor=HOSTILE, playbook_id=row.id)
    own_id = home.start(text, actor=HOSTILE, evil="x")
    home.service.views.keep("local", HOSTILE[:20] + "</a><script>", "q=x", lambda unit: None)
    home.service.cancel(own_id, actor=HOSTILE, reason=HOSTILE)
    home.run()
    home.access.create_token(clean, [Scope.READ], Limits(groups=("<script>evil()</script>",)))
    who = Principal("", HOSTILE, frozenset(), source_ip="127.0.0.1")
    home.access.note_denial(who, "deployment.start", HOSTILE, HOSTILE)
    own = f"/playbooks/{row.id}"
    return [
        *("/deployments", "/playbooks", "/admin", "/admin/audit", f"/deployments/bulk?act=retry&id={own_id}"),
        *(own, f"{own}/edit", f"{own}/run", f"{own}/diff", f"{own}/remove"),
    ]


def _params() -> dict[str, object]:
    return {"evil": {"type": "string", "description": HOSTILE, "enum": ["x", HOSTILE], "default": HOSTILE}}


@pytest.mark.parametrize("path", ["/%3Cscript%3Eevil()%3C/script%3E", "/deployments/%22%3E%3Cimg%20src=x%3E"])
def test_no_address_runs_when_it_is_not_found(path: str, home: House, eyes: Open) -> None:
    window = eyes(home.url, expected=("status of 404",)).go(path, 404)
    assert not window.was_evil()
    assert window.find("img[src=x]").count() == 0


def test_words_of_an_address_are_text_when_a_list_shows_them(home: House, eyes: Open) -> None:
    window = eyes(home.url)
    for path in (
        "/deployments?q=",
        "/deployments?group=",
        "/playbooks?q=",
        "/admin/audit?actor=",
        "/login?next=",
    ):
        window.go(path + "%22%3E%3Cscript%3Eevil()%3C/script%3E%3Cimg%20src=x%20onerror=evil()%3E")
        assert not window.was_evil(), path
        assert window.find("img[src=x]").count() == 0, path
