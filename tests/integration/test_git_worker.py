"""The git worker with real git, on repositories of this machine."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from replugin.gitworker import GitWorker
from reworker.testing import Transcript, deliver
from tests.support.waiting import wait_until

#: git as nobody in particular.
NOBODY = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "ann@x.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


def git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(
        ["git", *arguments], cwd=folder, env=NOBODY, check=True, capture_output=True, text=True
    )
    return result.stdout.strip()


class Team:
    """A repository that people push to, somebody's clone of it, and what the worker has."""

    def __init__(self, top: Path) -> None:
        self.top, self.remote, self.clone, self.folder = top, top / "web.git", top / "ann", top / "srv"
        git(top, "init", "--quiet", "--bare", "--initial-branch=main", str(self.remote))
        git(top, "clone", "--quiet", str(self.remote), str(self.clone))
        self.first = self.commit("readme", "1")

    def commit(self, name: str, text: str, branch: str = "main") -> str:
        """Commit a file on a branch and push it; return the commit."""
        if branch != git(self.clone, "symbolic-ref", "--short", "HEAD"):
            words = [branch] if branch in self.branches() else ["-b", branch, "main"]
            git(self.clone, "checkout", "--quiet", *words)
        (self.clone / name).write_text(text, encoding="utf-8")
        git(self.clone, "add", name)
        git(self.clone, "commit", "--quiet", "-m", f"{name} {text}")
        git(self.clone, "push", "--quiet", "origin", branch)
        return git(self.clone, "rev-parse", "HEAD")

    def branches(self) -> list[str]:
        return git(self.clone, "branch", "--format=%(refname:short)").split()

    def tip(self, ref: str = "main") -> str:
        return git(self.remote, "rev-parse", f"{ref}^{{commit}}")

    def step(self, subcommand: str, own: dict[str, Any] | None = None, **parameters: Any) -> Transcript:
        """Have the worker do a step; `own` are further settings of the repository."""
        repository = {
            "url": str(self.remote),
            "folder": str(self.folder),
            "push_branches": ["main", "release/*"],
            "push_tags": ["v*"],
            **(own or {}),
        }
        settings = parameters.pop("settings", {})
        config = {
            "cache": str(self.top / "cache"),
            "repositories": {"web": repository},
            "protocols": ["file"],
            "identity": {"name": "Releases", "email": "releases@x.org"},
            **settings,
        }
        return deliver(GitWorker, f"git:{subcommand}", {"repository": "web", **parameters}, config=config)


@pytest.fixture
def team(tmp_path: Path) -> Team:
    return Team(tmp_path)


ENDS_WELL = ["started", "completed"]
ENDS_BADLY = ["started", "failed"]


def test_folder_follows_branches_tags_and_commits(team: Team) -> None:
    git(team.clone, "tag", "v1")
    git(team.clone, "push", "--quiet", "origin", "v1")
    transcript = team.step("Update", ref="main")
    assert (transcript.statuses, transcript.data) == (ENDS_WELL, {"commit": team.first, "before": None})
    second = team.commit("readme", "2")
    assert team.step("Update", ref="main").data == {"commit": second, "before": team.first}
    assert (team.folder / "readme").read_text(encoding="utf-8") == "2"
    for ref in ("v1", team.first[:10]):
        assert team.step("Update", ref=ref).data["commit"] == team.first
    assert (team.folder / "readme").read_text(encoding="utf-8") == "1"


def test_nothing_is_lost_when_somebody_has_changed_the_folder(team: Team) -> None:
    team.step("Update", ref="main")
    team.commit("readme", "2")
    team.commit("other", "theirs")
    (team.folder / "readme").write_text("mine", encoding="utf-8")
    transcript = team.step("Update", ref="main")
    assert transcript.statuses == ENDS_BADLY
    assert "has changes of its own, such as M readme" in transcript.message
    git(team.folder, "checkout", "--quiet", "readme")
    (team.folder / "other").write_text("mine", encoding="utf-8")
    assert "would be overwritten" in str(team.step("Update", ref="main").final)
    assert (team.folder / "other").read_text(encoding="utf-8") == "mine"
    assert team.step("Update", {"discard_changes": True}, ref="main").statuses == ENDS_WELL
    assert (team.folder / "other").read_text(encoding="utf-8") == "theirs"


def test_folder_is_left_alone_when_it_holds_something_else(team: Team) -> None:
    team.folder.mkdir()
    (team.folder / "precious").touch()
    transcript = team.step("Update", ref="main")
    assert "holds other files than those of web; empty it first" in transcript.message
    assert [one.name for one in team.folder.iterdir()] == ["precious"]


def test_step_fails_when_the_ref_is_none_or_two(team: Team) -> None:
    team.commit("x", "1", branch="both")
    git(team.clone, "push", "--quiet", "origin", f"{team.first}:refs/tags/both")
    assert "web has no branch, tag or commit nothing" in team.step("Update", ref="nothing").message
    assert "both is a branch and a tag in web" in team.step("Update", ref="both").message
    assert team.step("Update", ref="tags/both").data["commit"] == team.first
    assert team.step("Update", ref="heads/both").data["commit"] == team.tip("heads/both")


def test_branch_is_merged_and_pushed_once(team: Team) -> None:
    feature = team.commit("feature", "1", branch="feature")
    transcript = team.step("Merge", source="feature", target="main", message="--ours\n\nbig")
    assert transcript.statuses == ENDS_WELL
    assert transcript.data == {"commit": team.tip(), "before": team.first}
    assert git(team.remote, "log", "-1", "--format=%an <%ae>|%P|%B", "main") == (
        f"Releases <releases@x.org>|{team.first} {feature}|--ours\n\nbig"
    )
    again = team.step("Merge", source="feature", target="main")
    assert again.data == {"commit": team.tip(), "before": team.tip()}
    assert "Already up to date." in again.output


def test_nothing_is_pushed_when_a_merge_has_conflicts(team: Team) -> None:
    team.commit("readme", "theirs", branch="feature")
    tip = team.commit("readme", "ours")
    transcript = team.step("Merge", source="feature", target="main")
    assert transcript.statuses == ENDS_BADLY
    assert "git merge of web ended with exit code 1: CONFLICT (content)" in transcript.message
    assert team.tip() == tip
    team.commit("readme", "theirs")  # as a person resolves it
    assert team.step("Merge", source="feature", target="main").statuses == ENDS_WELL
    assert [one.name for one in (team.top / "cache").iterdir() if one.is_dir()] == ["web.git"]


def test_commits_are_put_on_a_branch_in_their_order(team: Team) -> None:
    git(team.clone, "push", "--quiet", "origin", f"{team.first}:refs/heads/release/1")
    picked = [team.commit("a", "1"), team.commit("b", "2")]
    transcript = team.step("CherryPick", commits=picked, target="release/1")
    assert transcript.statuses == ENDS_WELL
    assert git(team.remote, "log", "--format=%s", "release/1").split("\n") == ["b 2", "a 1", "readme 1"]
    assert f"cherry picked from commit {picked[0]}" in git(team.remote, "log", "--format=%B", "release/1")
    again = team.step("CherryPick", commits=picked, target="release/1")
    assert again.statuses == ENDS_BADLY


def test_tag_is_made_and_pushed_once(team: Team) -> None:
    transcript = team.step("Tag", tag="v1.0", ref="main", message="# first\n")
    assert (transcript.statuses, transcript.data) == (ENDS_WELL, {"commit": team.first, "tag": "v1.0"})
    assert git(team.remote, "cat-file", "-t", "v1.0") == "tag"
    assert git(team.remote, "tag", "--list", "--format=%(contents)", "v1.0").strip() == "# first"
    assert team.step("Tag", tag="v1.0", ref="main").statuses == ENDS_WELL
    team.commit("readme", "2")
    assert "the tag v1.0 is there already" in team.step("Tag", tag="v1.0", ref="main").message
    assert team.tip("v1.0") == team.first


def test_tag_is_tried_again_when_its_push_was_refused(team: Team) -> None:
    hook = team.remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho freeze >&2\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    transcript = team.step("Tag", tag="v1.0", ref="main")
    assert transcript.statuses == ENDS_BADLY
    assert any("freeze" in line for line in transcript.output)
    hook.unlink()
    assert team.step("Tag", tag="v1.0", ref="main").statuses == ENDS_WELL
    assert team.tip("v1.0") == team.first


def test_nobodys_configuration_matters(team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    lines = ["[commit]", "gpgSign = true", '[url "/nowhere/"]', "insteadOf = /", "[alias]", "fetch = !false"]
    (home / ".gitconfig").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_SSH_COMMAND", "false")
    team.step("Update", ref="main")
    hook = team.folder / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n", encoding="utf-8")
    hook.chmod(0o755)
    team.commit("feature", "1", branch="feature")
    assert team.step("Merge", source="feature", target="main").statuses == ENDS_WELL
    assert team.step("Update", ref="main").statuses == ENDS_WELL
    assert not (tmp_path / "hooked").exists()


def test_step_fails_when_the_repository_is_not_there_or_speaks_too_much(team: Team) -> None:
    gone = team.step("Update", {"url": str(team.top / "gone.git")}, ref="main")
    assert gone.statuses == ENDS_BADLY
    assert "git fetch of web ended with exit code 128: fatal: " in gone.message


def test_git_is_ended_with_its_children_when_it_takes_too_long(team: Team, tmp_path: Path) -> None:
    program, mark = tmp_path / "git that waits", tmp_path / "pid"
    script = (
        f'#!/bin/sh\ncase "$*" in *fetch*) sleep 60 & echo $! > "{mark}"; wait;; *) exec git "$@";; esac\n'
    )
    program.write_text(script, encoding="utf-8")
    program.chmod(0o755)
    settings = {"program": str(program), "command_timeout_s": 2}
    transcript = team.step("Update", settings=settings, ref="main")
    assert transcript.statuses == ENDS_BADLY
    assert "ran longer than 2 s" in transcript.message
    child = Path("/proc", mark.read_text(encoding="utf-8").strip(), "stat")
    wait_until(lambda: not child.exists() or ") Z " in child.read_text(encoding="utf-8"))


def test_two_steps_on_one_repository_take_turns(team: Team) -> None:
    for number in range(2):
        team.commit(f"file{number}", "1", branch=f"feature{number}")
    ends: list[list[Any]] = []

    def merge(number: int) -> Callable[[], None]:
        return lambda: ends.append(team.step("Merge", source=f"feature{number}", target="main").statuses)

    threads = [threading.Thread(target=merge(number)) for number in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert ends == [ENDS_WELL] * 2
    assert len(git(team.remote, "log", "--merges", "--format=%h", "main").split()) == 2
