"""Options of the login through OpenID Connect, and what is refused before anything is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from reworker.cli.oidc_options import OPTIONS, SECRET_VARIABLE, oidc_settings
from reworker.core.principal import Limits, Scope
from reworker.errors import ConfigError
from reworker.web.oidc.settings import Grant, OidcSettings, load_grants
from reworker.web.settings import WebSettings
from tests.docs.pages import ROOT

EXAMPLE = ROOT / "conf" / "oidc-groups.yaml"
SAID = dict.fromkeys(OPTIONS, "") | {
    "oidc_issuer": "https://id.example.org/realms/x",
    "oidc_client_id": "reworker",
    "oidc_groups_file": str(EXAMPLE),
    "public_url": "https://deploy.example.org/",
}


def made(**said: str) -> OidcSettings:
    found = oidc_settings(SAID | said)
    assert found is not None
    return found


def refusal(**said: str) -> str:
    with pytest.raises(ConfigError) as caught:
        oidc_settings(SAID | said)
    return str(caught.value)


def test_settings_are_made_when_what_is_needed_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, "from the environment")
    found = made()
    assert (found.redirect_uri, found.groups_claim, found.name_claim) == (
        "https://deploy.example.org/oidc/callback",
        "groups",
        "",
    )
    assert found.client_secret == "from the environment"
    secret = tmp_path / "secret"
    secret.write_text("of the file\n")
    assert made(oidc_client_secret_file=str(secret)).client_secret == "of the file"
    assert "of the file" not in repr(made(oidc_client_secret_file=str(secret)))
    assert oidc_settings(dict.fromkeys(OPTIONS, "")) is None


def test_example_gives_rights_in_its_order() -> None:
    grants = load_grants(EXAMPLE)
    assert list(grants) == ["release-admins", "web-team"]
    assert grants["release-admins"] == Grant((Scope.ADMIN,))
    assert grants["web-team"].limits == Limits(("web", "web-*"), ("staging",), ("web*",))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"oidc_issuer": ""}, "oidc_issuer (with oidc_client_id)"),
        ({"oidc_client_id": ""}, "oidc_client_id: is missing"),
        ({"oidc_client_id": " "}, "oidc_client_id"),
        ({"oidc_groups_file": ""}, "oidc_groups_file: is missing"),
        ({"public_url": ""}, "public_url: is missing"),
        ({"oidc_issuer": "http://id.example.org"}, "takes an https:// URL"),
        ({"oidc_issuer": "https://me:pw@id.example.org"}, "takes an https:// URL"),
        ({"oidc_issuer": "https://id.example.org?a=1"}, "has a query"),
        ({"oidc_issuer": "https://[id"}, "is no URL"),
        ({"public_url": "http://deploy.example.org"}, "takes an https:// URL"),
        ({"public_url": "https://deploy.example.org/below"}, "give the origin alone"),
        ({"oidc_client_secret_file": "/nowhere/secret"}, "cannot be read"),
        ({"oidc_groups_file": "/nowhere/groups.yaml"}, "/nowhere/groups.yaml"),
    ],
)
def test_what_is_missing_or_unsafe_is_refused(said: dict[str, str], why: str) -> None:
    assert why in refusal(**said)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "web: {}",
        "web: {scopes: []}",
        "web: {scopes: [root]}",
        "web: [read]",
        "web: {scopes: [read], host: [a]}",
        "web: {scopes: [read], limits: {hosts: [1]}}",
        "web: {scopes: [read], limits: {hosts: ['']}}",
        "- web",
    ],
)
def test_file_of_groups_is_refused_when_it_makes_no_sense(tmp_path: Path, text: str) -> None:
    path = tmp_path / "groups.yaml"
    path.write_text(text)
    assert str(path) in refusal(oidc_groups_file=str(path))


@pytest.mark.parametrize("text", ["", "two\nlines", "\u00fcber", "x" * 5000])
def test_file_of_the_secret_is_refused_when_it_holds_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secret"
    path.write_text(text)
    assert "holds no secret" in refusal(oidc_client_secret_file=str(path))


def test_settings_are_refused_that_do_not_go_with_those_of_the_server() -> None:
    made().require_fits(WebSettings(is_tls=True))
    for web, why in ((WebSettings(), "--behind-tls"), (WebSettings(has_auth=False), "authentication is off")):
        with pytest.raises(ConfigError, match=why):
            made().require_fits(web)
