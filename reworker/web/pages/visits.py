"""A request for a page as data: who asks, for what, and what a form says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from starlette.requests import Request
from starlette.responses import Response

from reworker.core.guarded import GuardedService
from reworker.core.principal import Principal
from reworker.core.tasks.guarded import GuardedTasks
from reworker.web.context import Site
from reworker.web.multipart import Part

#: nobody has shown a token.
NOBODY = Principal("", "", frozenset())


class Form:
    """What a form says; a name may be there several times."""

    def __init__(
        self, fields: Sequence[tuple[str, str]] = (), files: Mapping[str, Part] | None = None
    ) -> None:
        self.fields, self._files = tuple(fields), dict(files or {})

    def text(self, name: str, default: str = "") -> str:
        """Return the last value of a field, with the line ends that we store."""
        found = [value for key, value in self.fields if key == name]
        return found[-1].replace("\r\n", "\n") if found else default

    def file(self, name: str) -> Part | None:
        """Return the file of a field; None when none was chosen."""
        return self._files.get(name)

    def all(self, name: str) -> list[str]:
        """Return all values of a field."""
        return [value for key, value in self.fields if key == name]


@dataclass(frozen=True)
class Visit:
    """A request from a browser that may pass.

    Args:
        site: what to work with.
        who: asks; `NOBODY` on pages for everybody.
        request: all of it.
        form: what was sent with a POST.
    """

    site: Site
    who: Principal
    request: Request
    form: Form = field(default_factory=Form)

    @cached_property
    def service(self) -> GuardedService:
        """The core's service, as far as this person may use it."""
        return GuardedService(self.site.service, self.site.access, self.who)

    @cached_property
    def work(self) -> GuardedTasks:
        """Codes, tasks and schedules, as far as this person may use them."""
        return GuardedTasks(self.site.service, self.site.access, self.who)

    def path(self, name: str) -> str:
        """Return a part of the address."""
        return str(self.request.path_params[name])

    def query(self, name: str, default: str = "") -> str:
        """Return the last value of a name in the query of the address."""
        return self.request.query_params.get(name, default)


#: shows a page or does what a form asks for; runs on a thread of its own.
View = Callable[[Visit], Response]
