"""git: brings checkouts up to date, merges, cherry-picks and tags, only in repositories of its configuration.

Its settings::

    cache: /var/lib/reworker/git
    repositories:
      web:
        url: https://git.example.com/team/web.git
        folder: /srv/web                 # for Update
        push_branches: [main, "release/*"]
        push_tags: ["v*"]
        token_file: /etc/reworker/git-token
    identity: {name: Releases, email: releases@example.com}
    protocols: [https, ssh]
    command_timeout_s: 600
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from replugin.gitworker.repository import Git
from replugin.gitworker.settings import COMMIT, GitSettings, ref_problem
from reworker.errors import JobFailed
from reworker.worker import Job, Worker, runner, step

#: a text for people in a commit or a tag.
Message = Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]
Commits = Annotated[list[str], msgspec.Meta(min_length=1, max_length=20)]
Data = dict[str, Any]


class GitWorker(Worker):
    """Does what a release needs of git; names are checked before a step is started."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._git = self.own_settings(GitSettings)

    def problems_in(self, subcommand: str, values: Mapping[str, Any], hosts: Sequence[str]) -> Iterable[str]:
        """Say what is wrong with a step before it is started."""
        repository = self._git.repositories.get(values["repository"])
        if repository is None:
            yield f"repository: unknown; configured: {', '.join(sorted(self._git.repositories))}"
            return
        for key in ("ref", "source", "target", "tag"):
            if key in values and (problem := ref_problem(values[key])):
                yield f"{key}: {problem}"
        yield from (
            f"commits: {one!r:.100} is no commit"
            for one in values.get("commits", ())
            if not COMMIT.fullmatch(one)
        )
        if "\x00" in (values.get("message") or ""):
            yield "message: has a NUL character"
        if "target" in values and not repository.may_push_branch(values["target"]):
            yield f"target: the settings allow no push to {values['target']!r:.100}"
        if "tag" in values and not repository.may_push_tag(values["tag"]):
            yield f"tag: the settings allow no push of {values['tag']!r:.100}"
        if subcommand == "Update" and repository.folder is None:
            yield "repository: has no folder in the settings"

    @step("Update", idempotent=True)
    def update(self, job: Job, *, repository: str, ref: str) -> Data:
        """Bring the repository's folder to a branch's newest commit, a tag or a commit."""
        settings = self._git.repositories[repository]
        git = Git(job, self._git, repository, Path(settings.folder or ""))
        with git.locked():
            git.fetch()
            commit, before = git.commit_of(ref), git.head()
            changed = git.changed_files() if before else []
            if changed and not settings.discard_changes:
                text = f"{settings.folder} has changes of its own, such as {changed[0].strip()}"
                raise JobFailed(f"{text}; set discard_changes if nobody needs them", {"changed": changed})
            force = ["--force"] if settings.discard_changes else []
            git.run("checkout", "--quiet", *force, "--detach", commit)
            job.output.info("%s is at %s (%s)", settings.folder, commit, ref)
        return {"commit": commit, "before": before or None}

    @step("Merge", idempotent=True)
    def merge(
        self, job: Job, *, repository: str, source: str, target: str, message: Message | None = None
    ) -> Data:
        """Merge a branch, a tag or a commit into a branch, and push that."""
        git = Git(job, self._git, repository)
        with git.locked():
            git.fetch()
            commit, tip = git.commit_of(source), git.branch_tip(target)
            with git.work_folder(tip) as folder:
                text = message or f"Merge {source} into {target}"
                git.run("merge", "--no-stat", "--no-ff", "--no-edit", "-m", text, commit, folder=folder)
                return git.push_folder(folder, target, tip)

    @step("CherryPick")
    def cherry_pick(self, job: Job, *, repository: str, commits: Commits, target: str) -> Data:
        """Put commits on top of a branch, in their order, and push that."""
        git = Git(job, self._git, repository)
        with git.locked():
            git.fetch()
            found, tip = git.commits_of(commits), git.branch_tip(target)
            with git.work_folder(tip) as folder:
                git.run("cherry-pick", "-x", "--allow-empty", *found, folder=folder)
                return git.push_folder(folder, target, tip)

    @step("Tag", idempotent=True)
    def tag(self, job: Job, *, repository: str, tag: str, ref: str, message: Message | None = None) -> Data:
        """Make an annotated tag of a branch's newest commit, a tag or a commit, and push it."""
        git = Git(job, self._git, repository)
        with git.locked():
            git.fetch()
            commit, there = git.commit_of(ref), git.tagged(tag)
            if there and there != commit:
                raise JobFailed(f"the tag {tag} is there already, of {there}; {ref} is {commit}")
            if there:
                job.output.info("the tag %s is there already", tag)
            else:
                git.run("tag", "--annotate", "--cleanup=verbatim", "-m", message or tag, "--", tag, commit)
                git.push(f"refs/tags/{tag}", f"refs/tags/{tag}")
        return {"commit": commit, "tag": tag}


def main() -> None:
    """Run this worker: ``python replugin/gitworker/__init__.py mq.json -w git.yaml``."""
    runner(GitWorker)


if __name__ == "__main__":
    main()
