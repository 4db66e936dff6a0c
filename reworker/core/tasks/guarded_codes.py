"""Code packages as far as somebody with a token may use them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reworker.core.audit import Outcome
from reworker.core.principal import Scope
from reworker.core.service import Service
from reworker.core.tasks.codes import CodeDraft
from reworker.core.tasks.options import CodeOptions
from reworker.core.tasks.rights import Rights, keep
from reworker.storage.contract import Unit
from reworker.storage.task_rows import CodeRow, ProjectRow, RevisionRow
from reworker.task_errors import ThingNotFound

_WRITE = Scope.PLAYBOOK_WRITE


class GuardedCodes:
    """Code packages; see `Codes`, whose methods raise `Forbidden` besides."""

    def __init__(self, service: Service, rights: Rights) -> None:
        self._service, self._codes, self._rights = service, service.codes, rights

    def upload(self, project: ProjectRow, draft: CodeDraft, package: Iterable[bytes] | None) -> CodeRow:
        """Store a new code, a new revision of one, or its options alone; see `Codes.upload`."""
        with self._rights.guard.doing("code.upload") as deed:
            self._rights.require(deed, _WRITE, project)
            deed.target = draft.name
            what = "options" if package is None else "revision"

            def note(unit: Unit, row: CodeRow) -> None:
                keep(deed, unit, row.id, f"{what} {row.rev} of {row.name} in {project.name}")

            return self._codes.upload(project, draft, package, actor=self._rights.who.name, note=note)

    def require_upload(self, project: ProjectRow) -> None:
        """Let somebody pass who may upload here, before the bytes are taken in; a refusal is in the audit.

        Raises:
            Forbidden: it may not be done.
        """
        with self._rights.guard.doing("code.upload") as deed:
            self._rights.require(deed, _WRITE, project)

    def code(self, code_id: str, project: ProjectRow | None = None) -> CodeRow:
        """Return a code; see `Codes.code`."""
        row = self._codes.code(code_id, project)
        self._rights.of_project(row, project, "code", code_id)
        return row

    def named(self, project: ProjectRow, name: str) -> CodeRow:
        """Return a code by its name; see `Codes.named`."""
        self._rights.require_seen(project)
        return self._codes.named(project, name)

    def codes(self, project: ProjectRow | None, *, limit: int = 30, offset: int = 0) -> list[CodeRow]:
        """Return codes that may be seen, newest first; see `Codes.codes`."""

        def fetch(of: ProjectRow | None, count: int, start: int) -> list[CodeRow]:
            return self._codes.codes(of, limit=count, offset=start)

        return self._rights.page(project, limit, offset, fetch)

    def revision(self, code: CodeRow, rev: int = 0) -> RevisionRow:
        """Return a revision of a code; see `Codes.revision`."""
        self._rights.require_seen(self._rights.project(code.project_id))
        return self._codes.revision(code, rev)

    def revisions(self, code: CodeRow, *, limit: int = 30, offset: int = 0) -> list[RevisionRow]:
        """Return the revisions of a code, newest first; see `Codes.revisions`."""
        self._rights.require_seen(self._rights.project(code.project_id))
        return self._codes.revisions(code, limit=limit, offset=offset)

    def for_download(self, code_id: str, project: ProjectRow, rev: int = 0) -> tuple[CodeRow, RevisionRow]:
        """Return a code and the revision whose bytes are wanted.

        Workers get those of deleted codes too: tasks that were queued before are still run.

        Raises:
            ThingNotFound: there is no such code or revision.
        """
        self._rights.require_seen(project)
        code = self._service.reader.code(code_id) if self._is_worker() else None
        if code is None or code.project_id != project.id:
            code = self._codes.code(code_id, project)
        if rev < 0:
            raise ThingNotFound("revision", str(rev))
        return code, self._codes.revision(code, rev)

    def _is_worker(self) -> bool:
        return any(one in self._rights.who.scopes for one in (Scope.WORKER, Scope.ADMIN))

    def package(self, revision: RevisionRow) -> Iterator[bytes]:
        """Yield the bytes of a revision that `revision` or `for_download` has returned."""
        return self._codes.package(revision)

    def pause(self, code: CodeRow, *, is_paused: bool) -> bool:
        """Start none of its tasks, or start them again; tell whether that was new; see `Codes.pause`."""
        action = "code.pause" if is_paused else "code.resume"
        with self._rights.guard.doing(action, code.id) as deed:
            self._rights.require(deed, _WRITE, self._rights.project(code.project_id))
            is_new = self._codes.pause(
                code, is_paused=is_paused, note=lambda unit, row: keep(deed, unit, row.id, row.name)
            )
            if not deed.is_noted:
                deed.keep(Outcome.DONE, "it was so already")
            return is_new

    def remove(self, code: CodeRow) -> None:
        """Delete a code; see `Codes.remove`."""
        with self._rights.guard.doing("code.remove", code.id) as deed:
            self._rights.require(deed, _WRITE, self._rights.project(code.project_id))
            self._codes.remove(code, note=lambda unit, row: keep(deed, unit, row.id, row.name))

    def change_options(self, code: CodeRow, options: CodeOptions) -> None:
        """Set the options that tasks have from now on; see `Codes.change_options`."""
        with self._rights.guard.doing("code.options", code.id) as deed:
            self._rights.require(deed, _WRITE, self._rights.project(code.project_id))
            self._codes.change_options(
                code, options, note=lambda unit, row: keep(deed, unit, row.id, row.name)
            )
