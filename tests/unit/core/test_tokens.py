"""What tokens are made of, and who may give what."""

from __future__ import annotations

import pytest

from reworker.core import tokens
from reworker.core.principal import Limits, Principal, Scope
from reworker.errors import ConfigError, Forbidden

OWN = "0123456789ab0123456789ab"


def who(*scopes: Scope, **limits: tuple[str, ...]) -> Principal:
    return Principal("1" * 24, "ann", frozenset(scopes), Limits(**limits))


def test_token_names_its_id_and_has_256_bits_of_chance() -> None:
    texts = {tokens.token_text(OWN, tokens.new_secret()) for _ in range(3)}
    assert len(texts) == 3
    assert {tokens.id_in(text) for text in texts} == {OWN}
    assert {len(text.rpartition("_")[2]) * 4 for text in texts} == {256}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rw_",
        "x" * 10_000_000,
        f"rw_{OWN}_{'a' * 63}",
        f"rw_{OWN}_{'a' * 65}",
        f"rw_{OWN}_{'A' * 64}",
        f"rw_{OWN}_{'a' * 63}\n",
        f"rw_{OWN}_{'a' * 63}é",
        f"rw_{OWN}_" + "\u0661" * 64,
        f"RW_{OWN}_{'a' * 64}",
        f" rw_{OWN}_{'a' * 63}",
        "\ud800" * 92,
    ],
)
def test_text_is_no_token_when_it_is_formed_otherwise(text: str) -> None:
    assert tokens.id_in(text) == ""
    assert not tokens.is_secret(text)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x1b[31m", "\u202eevil", "\ud800", "x" * 101])
def test_name_is_refused_when_it_is_empty_long_or_cannot_be_seen(name: str) -> None:
    with pytest.raises(ConfigError, match="name"):
        tokens.checked_name(name)
    assert tokens.checked_name(" Zoë (CI) ") == "Zoë (CI)"


@pytest.mark.parametrize(
    ("own", "given", "is_allowed"),
    [
        ((), ("web",), True),
        ((), (), True),
        (("web",), (), False),
        (("web",), ("web",), True),
        (("web",), ("db",), False),
        (("web-*",), ("web-*",), True),
        (("web-*",), ("web-a", "web-b*", "web-[ab]"), True),
        (("web-*",), ("web-a", "db"), False),
        (("web-*",), ("web*",), False),
        (("web-*",), ("*",), False),
        (("web-*", "db"), ("db", "web-?"), True),
        (("web-?",), ("web-[ab]",), False),
        (("web-?",), ("web-a",), True),
        (("*",), ("anything*",), True),
        (("[a]*",), ("[a]b*",), False),
    ],
)
@pytest.mark.parametrize("part", ["groups", "environments", "hosts"])
def test_limits_are_given_on_only_when_they_are_within_the_own_ones(
    part: str, own: tuple[str, ...], given: tuple[str, ...], is_allowed: bool
) -> None:
    limits = Limits(**{part: given})
    for maker in (who(Scope.ADMIN, **{part: own}), who(Scope.READ, **{part: own})):
        if is_allowed:
            tokens.require_grantable([Scope.READ], limits, maker)
        else:
            with pytest.raises(Forbidden, match=part):
                tokens.require_grantable([Scope.READ], limits, maker)


def test_scopes_are_given_on_only_by_who_has_them_or_is_admin() -> None:
    tokens.require_grantable([Scope.RUN, Scope.READ], Limits(), who(Scope.RUN, Scope.READ))
    tokens.require_grantable(list(Scope), Limits(), who(Scope.ADMIN))
    tokens.require_grantable(list(Scope), Limits(), None)
    for scope in (Scope.ADMIN, Scope.CANCEL):
        with pytest.raises(Forbidden, match=f"not {scope}"):
            tokens.require_grantable([Scope.RUN, scope], Limits(), who(Scope.RUN))


@pytest.mark.parametrize(
    ("scopes", "limits", "word"),
    [
        ([], Limits(), "scopes"),
        ([Scope.READ], Limits(groups=("",)), "groups"),
        ([Scope.READ], Limits(hosts=("a\nb",)), "hosts"),
        ([Scope.READ], Limits(hosts=("a" * 201,)), "hosts"),
        ([Scope.READ], Limits(environments=("a",) * 101), "environments"),
    ],
)
def test_token_is_refused_when_scopes_or_patterns_make_no_sense(
    scopes: list[Scope], limits: Limits, word: str
) -> None:
    with pytest.raises(ConfigError, match=word):
        tokens.require_grantable(scopes, limits, None)
