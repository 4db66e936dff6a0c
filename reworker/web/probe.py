"""What a server of HTTP says of its health when no core is in its process: whether it has its database."""

from __future__ import annotations

from reworker.errors import StorageError
from reworker.host.health import Report
from reworker.host.metrics import gauge
from reworker.storage.contract import Reader

#: a setting that is read to see whether the database answers; it need not be there.
_ANY = "rules"


class DatabaseProbe:
    """Asks the database; any thread."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __call__(self) -> Report:
        """Return the state of this moment."""
        problem = ""
        try:
            self._reader.setting(_ANY)
        except StorageError as error:
            problem = f"the database is away: {error}"
        text = "1 when the database can be used."
        family = gauge("reworker_web_database_up", text, (), not problem)
        return Report("web", unready=(problem,) if problem else (), families=(family,))
