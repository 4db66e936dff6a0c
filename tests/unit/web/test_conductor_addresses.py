"""Which address of Conductor does what, and that each says who may ask."""

from __future__ import annotations

import pytest

from reworker.web.conductor.addresses import ADDRESSES, AddressBook

BOOK = AddressBook(("/api", ""))
#: all that need no token, and why.
OPEN = {("POST", "token"): "gives one", ("GET", "health"): "says only that somebody answers"}


def test_every_address_says_who_may_ask() -> None:
    assert {(one.method, "/".join(one.words)) for one in ADDRESSES if not one.scopes} == set(OPEN)


@pytest.mark.parametrize(
    ("method", "path", "act", "parts"),
    [
        ("GET", "/api/tasks/poll/a%2Fb", "poll_one", {"type": "a/b"}),
        ("GET", "/task/poll/batch/a", "poll_batch", {"type": "a"}),
        ("POST", "/tasks", "update", {}),
        ("POST", "/api/task/update-v2", "update_with_next", {}),
        ("GET", "/tasks/x.1", "task", {"id": "x.1"}),
        ("GET", "/api/tasks/x", "task", {"id": "x"}),
        ("POST", "/api/tasks/w/a%3Ab/COMPLETED", "update_by_name", {"workflow": "w", "reference": "a:b"}),
        ("DELETE", "/api/metadata/taskdef/poll", "drop", {"type": "poll"}),
        ("POST", "/token", "token", {}),
        # whose server's address ends with a slash
        ("GET", "/api//tasks/poll/a", "poll_one", {"type": "a"}),
    ],
)
def test_address_is_found(method: str, path: str, act: str, parts: dict[str, str]) -> None:
    found = BOOK.find(method, path)
    assert found is not None
    assert found.address is not None
    assert found.address.act.__name__ == act
    assert parts.items() <= found.path.items()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/tasks"),
        ("GET", "/tasks/" + "a" * 24),
        ("POST", "/tasks/codes/x/queue"),
        ("POST", "/tasks/codes/new"),
        ("GET", "/tasks/" + "a" * 24 + "/log/lines"),
        ("GET", "/api/v1/deployments"),
        ("PUT", "/api/v0/web/playbook/"),
        ("GET", "/apitasks/poll/a"),
        ("GET", "//tasks/poll/a"),
        ("GET", "/api///tasks/poll/a"),
        ("GET", "/api/Tasks/poll/a"),
        ("GET", "/tasks/poll/" + "a" * 2000),
    ],
)
def test_address_of_somebody_else_is_left_alone(method: str, path: str) -> None:
    assert BOOK.find(method, path) is None


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/tasks/poll/"), ("PUT", "/api/tasks"), ("POST", "/api/schema"), ("GET", "/api/event/x")],
)
def test_address_that_is_not_there_is_told_in_this_dialect(method: str, path: str) -> None:
    found = BOOK.find(method, path)
    assert found is not None
    assert found.address is None
