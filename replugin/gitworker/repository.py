"""git on one repository, for one job: a copy in the cache, resolving names, folders to work in, pushing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from replugin.gitworker.settings import COMMIT, GitSettings
from reworker.errors import JobFailed
from reworker.worker import CommandResult, Job

#: variables of our environment that git and ssh get; no more.
INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "SSH_AUTH_SOCK")
#: no settings but these: nobody's hooks, helpers or habits, and nothing that goes on in the background.
OPTIONS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "gc.autoDetach=false",
    "http.followRedirects=false",
    "submodule.recurse=false",
    "advice.detachedHead=false",
)
#: what a copy of a repository gets: all branches and tags, and what is gone there goes here.
REFSPECS = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
FULL_COMMIT = re.compile(r"[0-9a-f]{40,64}")
#: seconds between two looks at a lock that somebody else holds.
LOCK_POLL_S = 0.1


class Git:
    """Runs git for a job, on a copy of a repository.

    Args:
        job: whose output the lines go to; its end ends git.
        settings: of the worker.
        name: of the repository.
        folder: of the copy with its files; None is the one in the cache, which has none.
    """

    def __init__(self, job: Job, settings: GitSettings, name: str, folder: Path | None = None) -> None:
        self._job, self._settings, self._folder = job, settings, folder
        self.name, self.repository = name, settings.repositories[name]
        self._home = Path(settings.cache, f"{name}.git") if folder is None else folder / ".git"

    def run(self, *arguments: str, folder: Path | None = None, check: bool = True) -> CommandResult:
        """Run git on the copy, or in a folder of `work_folder`.

        Raises:
            JobFailed: it ended with another exit code than 0, and `check` is set.
        """
        files = folder or self._folder
        place = {"GIT_DIR": str(self._home if folder is None else folder / ".git")}
        if files is not None:
            place["GIT_WORK_TREE"] = str(files)
        options = [word for option in OPTIONS for word in ("-c", option)]
        result = self._job.run(
            [self._settings.program, *options, *arguments],
            cwd=str(files or self._settings.cache),
            env={**_environment(self._settings), **self.repository.environment(), **place},
            timeout_s=self._settings.command_timeout_s,
            check=False,
        )
        if check and result.exit_code != 0:
            text = f"git {arguments[0]} of {self.name} ended with {result.end}"
            raise JobFailed(f"{text}: {_why(result.last_lines)}", {"last_lines": result.last_lines})
        return result

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one on this machine who works with this repository."""
        Path(self._settings.cache).mkdir(parents=True, exist_ok=True)
        with Path(self._settings.cache, f"{self.name}.lock").open("w") as file:
            while not _is_locked(file.fileno()):
                self._job.sleep(LOCK_POLL_S)
            yield

    def fetch(self) -> None:
        """Bring the copy up to date; it is made if there is none.

        Raises:
            JobFailed: its folder holds other files, or the other side does not answer.
        """
        if not (self._home / "HEAD").exists():
            self._make()
        self.run("fetch", "--prune", "--no-write-fetch-head", "--", self.repository.url, *REFSPECS)

    def _make(self) -> None:
        if self._folder is None:
            self.run("init", "--quiet", "--bare")
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        if any(one.name != ".git" for one in self._folder.iterdir()):
            raise JobFailed(f"{self._folder} holds other files than those of {self.name}; empty it first")
        self.run("init", "--quiet")

    def commit_of(self, ref: str) -> str:
        """Return the commit that a branch, a tag, ``heads/...``, ``tags/...`` or an abbreviation means.

        Raises:
            JobFailed: none, or a branch and a tag.
        """
        kind, _, rest = ref.partition("/")
        names = [f"refs/remotes/origin/{ref}", f"refs/tags/{ref}"]
        if kind in ("heads", "tags"):
            names.append(f"refs/remotes/origin/{rest}" if kind == "heads" else f"refs/tags/{rest}")
        found = set(self._commits(*names).values())
        if not found and COMMIT.fullmatch(ref):
            found = set(self._resolved(ref))
        if len(found) > 1:
            raise JobFailed(f"{ref} is a branch and a tag in {self.name}; write heads/{ref} or tags/{ref}")
        if not found:
            raise JobFailed(f"{self.name} has no branch, tag or commit {ref}")
        return found.pop()

    def commits_of(self, abbreviations: Sequence[str]) -> list[str]:
        """Return the commits that abbreviations of them mean.

        Raises:
            JobFailed: one means none, or several.
        """
        found = self._resolved(*abbreviations)
        if len(found) != len(abbreviations):
            raise JobFailed(f"{self.name} has not all of the commits {', '.join(abbreviations)}")
        return found

    def branch_tip(self, branch: str) -> str:
        """Return the newest commit of a branch.

        Raises:
            JobFailed: there is no such branch.
        """
        found = self._commits(f"refs/remotes/origin/{branch}")
        if not found:
            raise JobFailed(f"{self.name} has no branch {branch}")
        return found.popitem()[1]

    def tagged(self, tag: str) -> str:
        """Return the commit of a tag, or nothing."""
        return self._commits(f"refs/tags/{tag}").get(f"refs/tags/{tag}", "")

    def head(self, folder: Path | None = None) -> str:
        """Return the commit that a folder is at, or nothing."""
        result = self.run("rev-parse", "--verify", "--quiet", "HEAD", folder=folder, check=False)
        return result.last_lines[-1] if result.exit_code == 0 else ""

    @contextlib.contextmanager
    def work_folder(self, commit: str) -> Iterator[Path]:
        """Give a folder with the files of a commit, for the time of the block."""
        top = Path(tempfile.mkdtemp(prefix=f"{self.name}.", dir=self._settings.cache))
        folder = top / "files"
        try:
            self.run("worktree", "add", "--quiet", "--detach", str(folder), commit)
            yield folder
        finally:
            shutil.rmtree(top, ignore_errors=True)

    def changed_files(self) -> list[str]:
        """Return the lines of ``git status`` about files that are no longer as they were checked out."""
        return self.run("status", "--porcelain", "--untracked-files=no").last_lines

    def push_folder(self, folder: Path, branch: str, before: str) -> dict[str, str]:
        """Push what has been committed in a folder, if anything; return the commits now and before."""
        commit = self.head(folder)
        if commit != before:
            self.push(commit, f"refs/heads/{branch}", folder=folder)
        return {"commit": commit, "before": before}

    def push(self, commit: str, ref: str, *, folder: Path | None = None) -> None:
        """Push a commit to a branch or tag, given in full; what is there and newer is not overwritten.

        Raises:
            JobFailed: the other side does not take it.
        """
        self.run("push", "--porcelain", "--", self.repository.url, f"{commit}:{ref}", folder=folder)

    def _commits(self, *names: str) -> dict[str, str]:
        """Return the commits of those full names that there are; a tag's is the one that it was made of."""
        exact = [f"{name[:-1]}[{name[-1]}]" for name in names]  # else it would be for all below it, too
        lines = self.run(
            "for-each-ref", "--format=%(refname) %(objectname) %(*objectname)", *exact
        ).last_lines
        return {words[0]: words[-1] for words in (line.split() for line in lines)}

    def _resolved(self, *abbreviations: str) -> list[str]:
        wanted = [f"{one}^{{commit}}" for one in abbreviations]
        result = self.run("rev-parse", "--quiet", "--end-of-options", *wanted, check=False)
        return (
            [line for line in result.last_lines if FULL_COMMIT.fullmatch(line)]
            if result.exit_code == 0
            else []
        )


def _why(lines: list[str]) -> str:
    """Return the line that says most about a failure."""
    marks = ("fatal:", "error:", "CONFLICT", "!")
    return next(
        (line for mark in marks for line in lines if line.startswith(mark)), lines[-1] if lines else ""
    )


def _environment(settings: GitSettings) -> dict[str, str]:
    """Return what git gets to know of the world around it, whatever the repository."""
    own = {name: os.environ[name] for name in INHERITED if name in os.environ}
    who = settings.identity
    return {
        **own,
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "SSH_ASKPASS": "/bin/false",
        "GIT_ALLOW_PROTOCOL": ":".join(settings.protocols),
        "GIT_AUTHOR_NAME": who.name,
        "GIT_AUTHOR_EMAIL": who.email,
        "GIT_COMMITTER_NAME": who.name,
        "GIT_COMMITTER_EMAIL": who.email,
        "GIT_EDITOR": "/bin/false",
        "GIT_PAGER": "cat",
    }


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
