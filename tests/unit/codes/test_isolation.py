"""What is said of how tasks are kept apart."""

import pytest

from reworker.codes.isolation import Isolation, can_give_users

ROOT, NOBODY = "Name:\tpython\nCapEff:\t000001ffffffffff\n", "CapEff:\t0000000000000000\n"
ALL, ONE = "         0          0 4294967295\n", "         0       1000          1\n"


@pytest.mark.parametrize(
    ("status", "uid_map", "can"),
    [
        (ROOT, ALL, True),
        (NOBODY, ALL, False),
        (ROOT, ONE, False),
        (ROOT, ONE + "         1     100000      65536\n", True),
        ("CapEff:\t00000000a80425fb\n", ALL, True),
        ("CapEff:\t0000000000000001\n", ALL, False),
        ("", ALL, False),
    ],
)
def test_users_are_given_by_who_may_and_where_they_are(status: str, uid_map: str, can: bool) -> None:
    assert can_give_users(status, uid_map, 60_600) is can


def test_words_say_what_is_missing() -> None:
    assert "NO" not in Isolation(own_users=True, namespaces=True, own_proc=True).words()
    assert "NO namespaces (unshare: not allowed)" in Isolation(problem="unshare: not allowed").words()
    assert "NO user of their own" in Isolation(problem="x").words()
    assert "NO /proc" in Isolation(namespaces=True).words()


def test_nothing_is_hidden_where_there_are_no_namespaces() -> None:
    private, hidden = [("/tmp", "/x")], ["/y"]
    bare = Isolation().place("/top", private, hidden)
    assert (bare.private, bare.hidden, bare.namespaces) == ([], [], False)
    full = Isolation(namespaces=True).place("/top", private, hidden)
    assert (full.private, full.hidden) == (private, hidden)
