"""Code packages: uploaded, in revisions, deleted; and what cannot be one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from reworker.core.tasks.codes import PIECE_BYTES, CodeDraft, Codes, decoded_options
from reworker.core.tasks.options import CONFIG_BYTES, CodeOptions
from reworker.errors import StorageError
from reworker.task_errors import TaskRefused, ThingNotFound
from tests.component.core.tasks.kit import TaskWorld


def test_package_is_given_back_as_it_came(world: TaskWorld) -> None:
    data = bytes(range(256)) * (PIECE_BYTES // 256 * 2 + 3)
    parts = [data[:10], data[10 : PIECE_BYTES + 20], data[PIECE_BYTES + 20 :]]
    codes = world.core.service.codes
    code = codes.upload(world.project, CodeDraft("Fib", "python", "é.py"), parts, actor="ann")
    revision = codes.revision(code)
    assert b"".join(codes.package(revision)) == data
    assert [len(one) for one in codes.package(revision)] == [PIECE_BYTES, PIECE_BYTES, 768]
    expected = (hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest(), len(data))
    assert (revision.checksum, revision.digest, revision.size_bytes) == expected
    assert (revision.runtime, revision.file_name, revision.actor, code.rev) == ("python", "é.py", "ann", 1)


def test_same_name_is_a_new_revision_of_the_same_code(world: TaskWorld) -> None:
    codes, project = world.core.service.codes, world.project
    first = world.code(retries=3)
    second = codes.upload(project, CodeDraft("Fib", "sh", "b.sh"), [b"new"])
    assert (second.id, second.rev, second.created_at) == (first.id, 2, first.created_at)
    assert decoded_options(second).retries == 3
    third = codes.upload(project, CodeDraft("Fib", "sh", "c.sh", CodeOptions(retries=1)), [b"third"])
    assert decoded_options(third).retries == 1
    assert [row.rev for row in codes.revisions(third)] == [3, 2, 1]
    assert b"".join(codes.package(codes.revision(third, 2))) == b"new"
    with pytest.raises(ThingNotFound, match="revision '4'"):
        codes.revision(third, 4)


def test_options_are_changed_without_a_package(world: TaskWorld) -> None:
    codes, project = world.core.service.codes, world.project
    with pytest.raises(TaskRefused, match="send a package"):
        codes.upload(project, CodeDraft("Fib"), None)
    first = world.code()
    changed = codes.upload(project, CodeDraft("Fib", options=CodeOptions(retries=2)), None)
    assert (changed.rev, changed.revision_id, decoded_options(changed).retries) == (1, first.revision_id, 2)
    codes.change_options(changed, CodeOptions(retries=5))
    assert decoded_options(codes.code(first.id)).retries == 5
    assert len(codes.revisions(changed)) == 1


def test_deleted_code_is_gone_and_its_name_free(world: TaskWorld) -> None:
    codes, project = world.core.service.codes, world.project
    first = world.code()
    codes.remove(first)
    for ask in (lambda: codes.code(first.id), lambda: codes.named(project, "Fib")):
        with pytest.raises(ThingNotFound):
            ask()
    with pytest.raises(ThingNotFound):
        codes.remove(first)
    second = world.code()
    assert (second.id != first.id, second.rev) == (True, 1)
    assert codes.codes(project) == [second]


def test_nothing_is_kept_when_an_upload_breaks_off(world: TaskWorld) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * (PIECE_BYTES + 1)
        raise OSError("the client is gone")

    codes, project, packages = world.core.service.codes, world.project, world.storage.packages
    with pytest.raises(OSError, match="gone"):
        codes.upload(project, CodeDraft("Fib", "sh", "a"), broken())

    def refuse(*_: object) -> None:
        raise StorageError("the disk is full")

    with pytest.raises(StorageError):
        codes.upload(project, CodeDraft("Fib", "sh", "a"), [b"x"], note=refuse)
    assert (codes.codes(None), packages.ids("", 9)) == ([], [])


@pytest.mark.parametrize(
    ("name", "options", "field"),
    [
        ("", {}, "name"),
        (" ", {}, "name"),
        ("x" * 201, {}, "name"),
        ("a\nb", {}, "name"),
        ("\ud800", {}, "name"),
        ("Fib", {"config": "é" * CONFIG_BYTES}, "config"),
        ("Fib", {"config": "\ud800"}, "config"),
        ("Fib", {"retries": 11}, "retries"),
        ("Fib", {"retries": -1}, "retries"),
        ("Fib", {"retries_delay_s": -1.0}, "retries_delay"),
        ("Fib", {"retries_delay_s": float("nan")}, "retries_delay"),
        ("Fib", {"default_priority": 3}, "default_priority"),
        ("Fib", {"max_concurrency": -1}, "max_concurrency"),
        ("Fib", {"env_vars": {"": "x"}}, "env_vars"),
        ("Fib", {"env_vars": {"A=B": "x"}}, "env_vars"),
        ("Fib", {"env_vars": {"A": "x\0"}}, "env_vars"),
        ("Fib", {"env_vars": {"A": "\udcff"}}, "env_vars"),
        ("Fib", {"env_vars": {"A": "x" * CONFIG_BYTES}}, "env_vars"),
    ],
)
def test_code_is_refused_when_a_value_cannot_be(
    world: TaskWorld, name: str, options: dict[str, Any], field: str
) -> None:
    codes = world.core.service.codes
    with pytest.raises(TaskRefused) as caught:
        codes.upload(world.project, CodeDraft(name, "sh", "a", CodeOptions(**options)), [b"PK"])
    assert (caught.value.field, codes.codes(None)) == (field, [])


def test_code_of_another_project_is_not_found(world: TaskWorld) -> None:
    code, codes = world.code(), world.core.service.codes
    other = world.core.service.projects.add("other")
    assert codes.code(code.id, world.project) == code
    for ask in (lambda: codes.code(code.id, other), lambda: codes.code("no id")):
        with pytest.raises(ThingNotFound):
            ask()


def test_default_project_is_there_and_others_are_made_once(world: TaskWorld) -> None:
    projects = world.core.service.projects
    assert projects.find("default") == projects.find(projects.find("default").id)
    made = projects.add("web", actor="ann")
    assert (projects.add("web"), projects.find("web"), projects.find(made.id)) == (made, made, made)
    assert [row.name for row in projects.all()] == ["default", "web"]
    for name in ("", " ", "x" * 101):
        with pytest.raises(TaskRefused):
            projects.add(name)
    with pytest.raises(ThingNotFound, match="no project 'none'"):
        projects.find("none")


def test_core_is_woken_when_more_tasks_of_a_code_may_be_started(world: TaskWorld) -> None:
    wakes: list[str] = []
    codes = Codes(world.storage, world.clock, wake=lambda: wakes.append("woken"))
    code = world.code()
    codes.pause(code, is_paused=True)
    assert codes.pause(code, is_paused=False)
    assert wakes == ["woken"] * 2
    codes.change_options(code, CodeOptions(max_concurrency=7))
    codes.upload(world.project, CodeDraft("Fib", options=CodeOptions(max_concurrency=8)), None)
    assert len(wakes) == 4
    assert not codes.pause(code, is_paused=False)
    assert len(wakes) == 4
