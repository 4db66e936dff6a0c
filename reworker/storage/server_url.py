"""The URL of a database on a server: its parts, and the form that may be shown."""

from __future__ import annotations

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from reworker.errors import ConfigError

#: how such a URL begins.
SCHEMES = ("postgresql://", "postgres://")
#: options of libpq that hold a secret, or say where one is.
_SECRETS = ("password", "passfile", "sslpassword")


def is_server(db: str) -> bool:
    """Tell whether a text names a database on a server rather than a file."""
    return db.startswith(SCHEMES)


def parsed_url(url: str) -> URL:
    """Return the parts of a database's URL.

    Raises:
        ConfigError: it is none of PostgreSQL's; the text does not repeat it, for it may hold a password.
    """
    try:
        place = make_url(url)
        if place.port is not None and not 0 < place.port < 65536:
            raise ValueError("the port is out of range")
    except (ArgumentError, ValueError):
        # The cause may repeat the URL too.
        raise ConfigError("this is no postgresql://user:password@host:port/database", key="--db") from None
    return place.set(drivername="postgresql+psycopg")


def masked_url(url: str | URL) -> str:
    """Return a URL without its password; errors as of `parsed_url`."""
    place = parsed_url(url) if isinstance(url, str) else url
    shown = place.set(drivername="postgresql").difference_update_query(_SECRETS)
    return shown.render_as_string(hide_password=True)
