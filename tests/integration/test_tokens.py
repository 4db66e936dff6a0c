"""`reworker token` as people type it, on a database of each engine."""

import json

import pytest

from reworker.clock import SystemClock
from reworker.core.access import Access
from reworker.core.principal import Limits, Scope
from reworker.errors import NotAuthenticated
from reworker.storage.opening import open_storage
from tests.integration.cli_support import reworker


def test_token_is_made_listed_and_revoked(any_database_url, tmp_path):
    def run(*arguments):
        return reworker("token", *arguments, "--db", any_database_url, folder=tmp_path)

    made = run("create", "--scope", "admin", "-o", "json")
    assert made.returncode == 0, made.stderr
    first = json.loads(made.stdout)
    limits = ("--group", "web-*", "--group", "db", "--environment", "staging", "--host", "web1")
    second = run("create", "--scope", "read", "--scope", "run", "--name", "ci", "--expires", "90d", *limits)
    text = second.stdout.strip()
    assert "ci: read, run; groups web-*, db; environments staging; hosts web1; until" in second.stderr
    storage = open_storage(any_database_url)
    access = Access(storage, SystemClock(), later=lambda _: None)
    assert access.principal_of(first["token"]).scopes == {Scope.ADMIN}
    who = access.principal_of(text)
    assert (who.name, who.scopes) == ("ci", {Scope.READ, Scope.RUN})
    assert who.limits == Limits(("web-*", "db"), ("staging",), ("web1",))
    shown = run("ls").stdout
    assert [line[:24] for line in shown.splitlines()] == [who.token_id, first["id"]]
    assert text not in shown
    assert run("revoke", text, first["id"]).stdout.splitlines() == [
        f"{who.token_id} revoked",
        f"{first['id']} revoked",
    ]
    assert run("ls").stdout == ""
    rows = [json.loads(line) for line in run("ls", "--all", "-o", "json").stdout.splitlines()]
    assert [bool(one["revoked_at"]) for one in rows] == [True, True]
    with pytest.raises(NotAuthenticated):
        Access(storage, SystemClock(), later=lambda _: None).principal_of(text)
    assert [one.action for one in access.audit()] == ["token.revoke"] * 2 + ["token.create"] * 2
    storage.close()
