"""Tasks: queued, waited for, read, cancelled."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Unpack

from reworker.clock import Clock
from reworker.iron.link import Linked, pieces_of, quoted
from reworker.iron.options import TaskOptions, on_wire, text_of
from reworker.iron.records import STATUSES, Task, id_of, record
from reworker.task_errors import TaskNotOver, TaskRefused, ThingNotFound

#: seconds between two looks at a task: the first ones, and after a while.
FIRST_LOOK_S, LOOK_S, GROWTH = 0.05, 2.0, 1.5


class TaskCalls(Linked):
    """Requests about tasks; each takes a `Task` or its id."""

    _clock: Clock

    def queue(self, code_name: str, payload: Any = None, **options: Unpack[TaskOptions]) -> Task:
        """Queue a task.

        Args:
            code_name: of the code that it runs.
            payload: what its process finds in the payload file: a string as it is, anything else as JSON.
            options: see `TaskOptions`.

        Raises:
            ThingNotFound: there is no such code.
            TaskRefused: a value is wrong.
        """
        return self.queue_many(code_name, [payload], **options)[0]

    def queue_many(
        self, code_name: str, payloads: Sequence[Any], **options: Unpack[TaskOptions]
    ) -> list[Task]:
        """Queue a task for each payload, all or none, in one request; return them in the same order.

        Raises:
            TaskRefused: it is one payload, not a list of them; or a value is wrong.
        """
        if isinstance(payloads, str | bytes | Mapping):
            raise TaskRefused(f"takes a list of them, found a {type(payloads).__name__}", field="payloads")
        said = on_wire(TaskOptions, options)
        tasks = [{"code_name": code_name, "payload": text_of(one), **said} for one in payloads]
        found = self._link.ask("POST", "tasks", {"tasks": tasks}, about=("code", code_name))
        pairs = zip(found["tasks"], tasks, strict=True)
        return [Task(str(told["id"]), code_name, payload=asked["payload"]) for told, asked in pairs]

    def task(self, task: Task | str) -> Task:
        """Return a task as it stands now."""
        return record(Task, self._link.ask("GET", _path(task)))

    def tasks(
        self,
        *statuses: str,
        code_name: str = "",
        label: str = "",
        page: int = 0,
        per_page: int = 30,
    ) -> list[Task]:
        """Return tasks, newest first, a page of them; those of some statuses if any are named.

        Raises:
            TaskRefused: there is no such status: the server would pass over it and return all.
        """
        unknown = set(statuses) - set(STATUSES)
        if unknown:
            raise TaskRefused(f"there are {', '.join(STATUSES)}", field=f"status {min(unknown)!r}")
        query = {"code_name": code_name, "label": label, "page": page, "per_page": per_page}
        found = self._link.ask("GET", "tasks", query={**query, **dict.fromkeys(statuses, 1)})
        return [record(Task, one) for one in found["tasks"]]

    def wait(self, task: Task | str, *, timeout_s: float = 0) -> Task:
        """Wait for the end of a task, and return it as it ended, whatever its status.

        Args:
            task: or its id.
            timeout_s: longest wait; 0 is without limit.

        Raises:
            TaskNotOver: it goes on.
        """
        start_mono_s = self._clock.mono_s()
        for pause in self._looks():
            found = self.task(task)
            if found.is_over:
                return found
            waited_s = self._clock.mono_s() - start_mono_s
            if timeout_s and waited_s >= timeout_s:
                raise TaskNotOver(found.id, found.status, timeout_s)
            pause()
        raise AssertionError("looks have no end")

    def log(self, task: Task | str) -> str:
        """Return what a task has written so far.

        Raises:
            ThingNotFound: it has not begun.
        """
        return "".join(self._text(f"{_path(task)}/log"))

    def stdout(self, task: Task | str) -> str:
        """Return what a task has written to its standard output alone. Raises as `log`."""
        return "".join(self._text(f"{_path(task)}/outlog"))

    def follow_log(self, task: Task | str) -> Iterator[str]:
        """Yield what a task writes, piece by piece, until it has ended."""
        seen_bytes = 0
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        for pause in self._looks():
            is_over = self.task(task).is_over
            for piece in self._pieces(f"{_path(task)}/log", after=seen_bytes):
                seen_bytes += len(piece)
                text = decode(piece)
                if text:
                    yield text
            if is_over:
                break
            pause()
        rest = decode(b"", True)
        if rest:
            yield rest

    def cancel(self, task: Task | str) -> None:
        """End a task."""
        self._link.ask("POST", f"{_path(task)}/cancel", {})

    def retry(self, task: Task | str, *, delay_s: float = 0) -> Task:
        """Queue a task anew, as another one; return that."""
        found = self._link.ask("POST", f"{_path(task)}/retry", {"delay": delay_s} if delay_s else {})
        return self.task(found["tasks"][0]["id"])

    def set_progress(self, task: Task | str, percent: int | None = None, msg: str | None = None) -> None:
        """Note how far a task is; what is None stays as it was."""
        said = {name: value for name, value in (("percent", percent), ("msg", msg)) if value is not None}
        self._link.ask("POST", f"{_path(task)}/progress", said)

    def _looks(self) -> Iterator[Callable[[], object]]:
        """Yield, without an end, what waits until the next look."""
        look_s = FIRST_LOOK_S
        while True:
            yield partial(self._link.pause, look_s)
            look_s = min(look_s * GROWTH, LOOK_S)

    def _text(self, path: str) -> Iterator[str]:
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        with self._link.opened("GET", path) as response:
            for piece in pieces_of(response):
                yield decode(piece)
        yield decode(b"", True)

    def _pieces(self, path: str, *, after: int) -> Iterator[bytes]:
        """Yield the bytes of a log after so many; none if there is no log yet."""
        try:
            with self._link.opened("GET", path) as response:
                yield from _beyond(pieces_of(response), after)
        except ThingNotFound:
            return


def _beyond(pieces: Iterator[bytes], seen_bytes: int) -> Iterator[bytes]:
    """Yield what comes after so many bytes."""
    left = seen_bytes
    for piece in pieces:
        if len(piece) > left:
            yield piece[left:]
        left = max(0, left - len(piece))


def _path(task: Task | str) -> str:
    return f"tasks/{quoted(id_of(task))}"
