"""The git worker without git: its settings, and what it refuses before anything is started."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from replugin.gitworker import GitWorker
from replugin.gitworker.settings import Repository, ref_problem
from reworker.errors import ConfigError
from reworker.testing import Harness, deliver

WEB = {"url": "https://git.x.org/web.git", "push_branches": ["main", "release/*"], "push_tags": ["v*"]}
CONFIG = {"cache": "/nowhere/cache", "repositories": {"web": WEB}}


@pytest.mark.parametrize("name", ["main", "release/1.2", "v1.2+3", "a_b-c", "heads/main", "0123abc"])
def test_name_is_taken_when_git_would_take_it_too(name: str) -> None:
    assert ref_problem(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-f",
        "--upload-pack=touch /tmp/x",
        "--output=x",
        "a..b",
        "a b",
        "a\nb",
        "a~1",
        "a^",
        "a:b",
        "@{-1}",
        "a@{1}",
        "HEAD",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a/.b",
        "a/-b",
        "a.lock",
        "a.lock/b",
        "a.",
        "a*",
        "refs/heads/[a]",
        "a\\b",
        "\u00e4",
        "x" * 201,
        "ext::sh -c x",
    ],
)
def test_name_is_refused_when_it_could_be_an_option_or_an_expression(name: str) -> None:
    assert "is no name of a branch or tag" in ref_problem(name)


@pytest.mark.parametrize(
    ("subcommand", "parameters", "problem"),
    [
        ("Update", {"repository": "web", "ref": "--upload-pack=x"}, "ref: '--upload-pack=x' is no name"),
        ("Update", {"repository": "web", "ref": "main"}, "has no folder in the settings"),
        ("Update", {"repository": "ext::sh -c x", "ref": "main"}, "repository: unknown; configured: web"),
        ("Update", {"repository": "../web", "ref": "main"}, "repository: unknown"),
        ("Update", {"ref": "main"}, "repository: missing"),
        ("Merge", {"repository": "web", "source": "-x", "target": "main"}, "source: '-x' is no name"),
        ("Merge", {"repository": "web", "source": "a", "target": "other"}, "no push to 'other'"),
        ("Merge", {"repository": "web", "source": "a", "target": "main", "message": ""}, "message: Expected"),
        ("Merge", {"repository": "web", "source": "a", "target": "main", "message": "\x00"}, "NUL"),
        ("CherryPick", {"repository": "web", "commits": [], "target": "main"}, "commits: Expected"),
        ("CherryPick", {"repository": "web", "commits": ["--abort"], "target": "main"}, "is no commit"),
        ("CherryPick", {"repository": "web", "commits": ["main"], "target": "main"}, "is no commit"),
        ("Tag", {"repository": "web", "tag": "1.0", "ref": "main"}, "no push of '1.0'"),
        ("Tag", {"repository": "web", "tag": "v1", "ref": "main", "force": True}, "force: unknown parameter"),
    ],
)
def test_step_is_not_started_when_a_parameter_is_wrong(
    subcommand: str, parameters: dict[str, Any], problem: str
) -> None:
    transcript = deliver(GitWorker, f"git:{subcommand}", parameters, config=CONFIG)
    assert transcript.statuses == ["failed"]
    assert problem in transcript.message


@pytest.mark.parametrize(
    ("url", "protocol"),
    [
        ("https://git.x.org/web.git", "https"),
        ("https://[::1]:8443/web.git", "https"),
        ("http://x/web", "http"),
        ("git://x/web", "git"),
        ("ssh://git@git.x.org:22/web.git", "ssh"),
        ("git@git.x.org:team/web.git", "ssh"),
        ("/srv/git/web.git", "file"),
        ("file:///srv/git/web.git", "file"),
    ],
)
def test_protocol_is_known_when_an_url_is_one(url: str, protocol: str) -> None:
    assert Repository(url=url).protocol() == protocol


@pytest.mark.parametrize(
    "url",
    [
        "",
        "web",
        "../web",
        "ext::sh -c 'touch /tmp/x'",
        "ext::x",
        "-x",
        "--upload-pack=x",
        "https://user:secret@x/web",
        "https://x/a b",
        "ssh://-oProxyCommand=x/web",
        "ssh://git@-oProxyCommand=x/web",
        "git@x:-web",
        "-oProxyCommand=x:web",
        "fd::17",
        "https://x/\n",
    ],
)
def test_url_is_refused_when_it_is_none_or_could_be_an_option(url: str) -> None:
    with pytest.raises(ValueError, match="is no URL of a repository"):
        Repository(url=url)


def test_token_is_in_no_argument_when_there_is_one(tmp_path: Path) -> None:
    key = tmp_path / "a key"
    key.touch()
    found = Repository(url="https://x/web", user="bot", token="open-sesame", ssh_key=str(key)).environment()
    login = base64.b64encode(b"bot:open-sesame").decode()
    assert found["GIT_CONFIG_VALUE_0"] == f"Authorization: Basic {login}"
    assert (found["GIT_CONFIG_COUNT"], found["GIT_CONFIG_KEY_0"]) == ("1", "http.extraHeader")
    assert f"'{key}'" in found["GIT_SSH_COMMAND"]
    assert "BatchMode=yes" in found["GIT_SSH_COMMAND"]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({}, "cache: is missing|repositories: is missing"),
        ({**CONFIG, "cache": "cache"}, "cache: give the whole path"),
        ({**CONFIG, "repositories": {}}, "repositories: Expected `object` of length >= 1"),
        ({**CONFIG, "repositories": {"a/b": WEB}}, "'a/b' is no name"),
        ({**CONFIG, "repositories": {"web": {}}}, "repositories.web.url: is missing"),
        ({**CONFIG, "repositories": {"web": {"url": "ext::x"}}}, "repositories.web: url: 'ext::x' is no URL"),
        ({**CONFIG, "repositories": {"web": {"url": "/srv/x"}}}, "speaks file; protocols: https, ssh"),
        ({**CONFIG, "protocols": ["ext"]}, r"protocols\[0\]: Invalid enum value 'ext'"),
        ({**CONFIG, "repositories": {"web": {**WEB, "folder": "web"}}}, "folder: give its whole path"),
        ({**CONFIG, "repositories": {"web": {**WEB, "ssh_key": "/no/such"}}}, "/no/such is no file"),
        ({**CONFIG, "repositories": {"web": {"url": "g@x:y", "token": "t"}}}, "token: is for https only"),
        ({**CONFIG, "repositories": {"web": {**WEB, "tags": []}}}, "repositories.web.tags: unknown setting"),
        ({**CONFIG, "identity": {"name": "a <b>"}}, "identity.name: Expected `str` matching"),
        ({**CONFIG, "command_timeout_s": 0}, "command_timeout_s: Expected"),
    ],
)
def test_git_settings_are_refused_when_wrong(config: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Harness(GitWorker, config)
