"""Code packages: uploaded, kept in revisions, read again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

import msgspec

from reworker.clock import Clock
from reworker.core.tasks.options import (
    CONFIG_BYTES,
    MOST_DELAY_S,
    MOST_RETRIES,
    PRIORITIES,
    CodeOptions,
    decoded,
    encoded,
    require_result_places,
    utf8,
)
from reworker.errors import ReworkerError
from reworker.ids import is_id, new_id
from reworker.storage.contract import Storage, Unit
from reworker.storage.task_rows import CodeRow, ProjectRow, RevisionRow
from reworker.task_errors import TaskRefused, ThingNotFound

#: bytes of one stored piece of a package.
PIECE_BYTES = 1 << 20
#: characters of a code's name.
NAME_CHARACTERS = 200

#: done in the transaction that changes a code.
Note = Callable[[Unit, CodeRow], None]


def _nothing(_unit: Unit, _row: CodeRow) -> None:
    return None


class CodeDraft(msgspec.Struct, frozen=True):
    """What is uploaded, beside the package's bytes.

    Args:
        name: unique in its project.
        runtime: sh, python, node, ruby, php, perl, binary, or another name for one of these.
        file_name: that is run, inside of the package.
        options: None leaves those of the revision before.
    """

    name: str
    runtime: str = ""
    file_name: str = ""
    options: CodeOptions | None = None


class Codes:
    """Code packages of all projects; any thread, any process.

    Args:
        storage: the database.
        wake: tells a core in this process that more tasks may be started now.
    """

    def __init__(self, storage: Storage, clock: Clock, *, wake: Callable[[], None] = lambda: None) -> None:
        self._storage, self._clock, self._wake = storage, clock, wake

    def upload(
        self,
        project: ProjectRow,
        draft: CodeDraft,
        package: Iterable[bytes] | None,
        *,
        actor: str = "",
        note: Note = _nothing,
    ) -> CodeRow:
        """Store a new code, or a new revision of one; without a package only its options are changed.

        Args:
            project: that it belongs to.
            draft: what it is.
            package: the bytes of a zip file, checked by whoever has taken them in; None is none.
            actor: who does it.
            note: done in the same transaction.

        Raises:
            TaskRefused: a value is wrong, or there is neither a package nor such a code.
        """
        require_valid(draft)
        now = self._clock.now()
        own_id = new_id(now)
        stored = self._store(own_id, package) if package is not None else None
        try:
            with self._storage.begin() as unit:
                before = unit.lock_code(project.id, draft.name)
                if before is None and stored is None:
                    raise TaskRefused(f"there is no code {draft.name!r} yet, so send a package", field="file")
                options = encoded(draft.options or (decoded_options(before) if before else CodeOptions()))
                row = self._next(project, draft, before, own_id, options, actor)
                if stored is None:
                    row = msgspec.structs.replace(
                        row, rev=before.rev if before else 1, revision_id=before.revision_id if before else ""
                    )
                unit.put_code(row)
                if stored is not None:
                    unit.add_revision(self._revision(row, draft, stored, actor))
                note(unit, row)
        except ReworkerError:
            if stored is not None:
                self._storage.packages.remove(own_id)
            raise
        self._wake()
        return row

    def _next(
        self,
        project: ProjectRow,
        draft: CodeDraft,
        before: CodeRow | None,
        revision_id: str,
        options: bytes,
        actor: str,
    ) -> CodeRow:
        now = self._clock.now()
        if before is not None:
            return msgspec.structs.replace(
                before, rev=before.rev + 1, revision_id=revision_id, options=options, updated_at=now
            )
        return CodeRow(
            id=new_id(now),
            project_id=project.id,
            name=draft.name,
            rev=1,
            revision_id=revision_id,
            options=options,
            is_paused=False,
            actor=actor,
            created_at=now,
            updated_at=now,
        )

    def _revision(
        self, row: CodeRow, draft: CodeDraft, stored: tuple[str, str, int], actor: str
    ) -> RevisionRow:
        checksum, digest, size_bytes = stored
        return RevisionRow(
            id=row.revision_id,
            code_id=row.id,
            rev=row.rev,
            runtime=draft.runtime,
            file_name=draft.file_name,
            checksum=checksum,
            digest=digest,
            size_bytes=size_bytes,
            options=row.options,
            actor=actor,
            created_at=row.updated_at,
        )

    def _store(self, package_id: str, package: Iterable[bytes]) -> tuple[str, str, int]:
        """Store the bytes in pieces; return (MD5, SHA-256, size)."""
        md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
        packages, size_bytes, rest, number = self._storage.packages, 0, bytearray(), 0
        try:
            for part in package:
                md5.update(part)
                sha256.update(part)
                size_bytes += len(part)
                rest += part
                while len(rest) >= PIECE_BYTES:
                    packages.add(package_id, number, bytes(rest[:PIECE_BYTES]))
                    del rest[:PIECE_BYTES]
                    number += 1
            if rest or not number:
                packages.add(package_id, number, bytes(rest))
        except BaseException:
            packages.remove(package_id)
            raise
        return md5.hexdigest(), sha256.hexdigest(), size_bytes

    def code(self, code_id: str, project: ProjectRow | None = None) -> CodeRow:
        """Return a code that is not deleted, of a project if one is given.

        Raises:
            ThingNotFound: there is none.
        """
        row = self._storage.reader.code(code_id) if is_id(code_id) else None
        if row is None or row.archived_at is not None or (project and row.project_id != project.id):
            raise ThingNotFound("code", code_id)
        return row

    def named(self, project: ProjectRow, name: str) -> CodeRow:
        """Return a code by its name.

        Raises:
            ThingNotFound: there is none.
        """
        row = self._storage.reader.code_named(project.id, name)
        if row is None:
            raise ThingNotFound("code", name)
        return row

    def codes(self, project: ProjectRow | None, *, limit: int = 30, offset: int = 0) -> list[CodeRow]:
        """Return codes, newest first; of all projects without one."""
        return self._storage.reader.codes(project.id if project else "", limit=limit, offset=offset)

    def revision(self, code: CodeRow, rev: int = 0) -> RevisionRow:
        """Return a revision of a code; 0 is the newest.

        Raises:
            ThingNotFound: there is none of this number.
        """
        reader = self._storage.reader
        row = reader.revision_of(code.id, rev) if rev else reader.revision(code.revision_id)
        if row is None:
            raise ThingNotFound("revision", str(rev or code.rev))
        return row

    def revisions(self, code: CodeRow, *, limit: int = 30, offset: int = 0) -> list[RevisionRow]:
        """Return the revisions of a code, newest first."""
        return self._storage.reader.revisions(code.id, limit=limit, offset=offset)

    def package(self, revision: RevisionRow) -> Iterator[bytes]:
        """Yield the bytes of a package, a piece at a time."""
        return self._storage.packages.pieces(revision.id)

    def pause(self, code: CodeRow, *, is_paused: bool, note: Note = _nothing) -> bool:
        """Start none of its tasks, or start them again; tell whether that was new."""
        return self._change(code, note, is_paused=is_paused)

    def remove(self, code: CodeRow, *, note: Note = _nothing) -> None:
        """Delete a code; a later upload of the name is a new code. Its tasks keep their logs."""
        self._change(code, note, archived_at=self._clock.now())

    def change_options(self, code: CodeRow, options: CodeOptions, *, note: Note = _nothing) -> None:
        """Set the options that tasks have from now on."""
        require_valid(CodeDraft(code.name, options=options))
        self._change(code, note, options=encoded(options))

    def _change(self, code: CodeRow, note: Note, **values: object) -> bool:
        with self._storage.begin() as unit:
            found = unit.lock_codes([code.id]).get(code.id)
            if found is None or found.archived_at is not None:
                raise ThingNotFound("code", code.id)
            row = msgspec.structs.replace(found, **values)
            if row == found:
                return False
            row = msgspec.structs.replace(row, updated_at=self._clock.now())
            unit.put_code(row)
            note(unit, row)
        self._wake()
        return True


def decoded_options(code: CodeRow) -> CodeOptions:
    """Return the options of a code."""
    return decoded(CodeOptions, code.options)


def require_valid(draft: CodeDraft) -> None:
    """Let a draft pass whose values can be.

    Raises:
        TaskRefused: names the value.
    """
    if not draft.name.strip() or len(draft.name) > NAME_CHARACTERS or not draft.name.isprintable():
        raise TaskRefused(f"give 1 to {NAME_CHARACTERS} printable characters", field="name")
    options = draft.options or CodeOptions()
    for field, text in (("runtime", draft.runtime), ("file_name", draft.file_name)):
        utf8(text, field)
    _require_env(options.env_vars)
    if len(utf8(options.config, "config")) > CONFIG_BYTES:
        raise TaskRefused(f"has more than {CONFIG_BYTES} bytes", field="config")
    if not 0 <= options.retries <= MOST_RETRIES:
        raise TaskRefused(f"0 to {MOST_RETRIES}, found {options.retries}", field="retries")
    if not 0 <= options.retries_delay_s <= MOST_DELAY_S:
        raise TaskRefused(f"0 to {MOST_DELAY_S:g} seconds", field="retries_delay")
    if options.default_priority not in PRIORITIES:
        raise TaskRefused("0, 1 or 2", field="default_priority")
    require_result_places(options)
    if options.max_concurrency < 0:
        raise TaskRefused("a number from 1 on, or 0 for no limit", field="max_concurrency")


def _require_env(env_vars: dict[str, str]) -> None:
    """Let variables pass that a process can have.

    Raises:
        TaskRefused: names the variable.
    """
    size_bytes = 0
    for name, value in env_vars.items():
        size_bytes += len(utf8(name, "env_vars")) + len(utf8(value, "env_vars"))
        if not name or "=" in name or "\0" in name + value:
            raise TaskRefused(f"{name[:100]!a} cannot be a variable with this value", field="env_vars")
    if size_bytes > CONFIG_BYTES:
        raise TaskRefused(f"have more than {CONFIG_BYTES} bytes together", field="env_vars")
