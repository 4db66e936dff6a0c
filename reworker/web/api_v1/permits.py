"""Whether who follows a stream still may: one whose token was revoked must not read on until it ends."""

from __future__ import annotations

from reworker.core.places import SEEING, may_any
from reworker.core.principal import ANYWHERE, Scope
from reworker.errors import StorageUnavailable
from reworker.web.auth import principal_of
from reworker.web.operations import Call


class Permit:
    """Looks at the token or session of a stream again and again; one task.

    Args:
        call: the request for the stream, which has been admitted just now.
        check_s: seconds between two looks.
    """

    def __init__(self, call: Call, check_s: float) -> None:
        self._call, self._check_s = call, check_s
        self._due_mono_s = call.site.clock.mono_s() + check_s

    @property
    def left_s(self) -> float:
        """Seconds until it has to be renewed."""
        return max(0.0, self._due_mono_s - self._call.site.clock.mono_s())

    async def renew(self) -> None:
        """Look again, if it is time.

        Raises:
            NotAuthenticated, Forbidden: who follows may no more.
        """
        if self.left_s:
            return
        try:
            who = await principal_of(self._call.site, self._call.request)
        except StorageUnavailable:  # nothing new can be read either; the next look tells
            pass
        else:
            if not may_any(who, SEEING, ANYWHERE):
                who.require(Scope.READ)
        self._due_mono_s = self._call.site.clock.mono_s() + self._check_s
