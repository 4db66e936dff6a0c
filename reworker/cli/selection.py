"""Which deployment or playbook a person means: by its id, or the beginning of one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reworker.errors import ConfigError, DeploymentNotFound
from reworker.ids import is_id

if TYPE_CHECKING:
    from reworker.cli.asked import Asked

_BEGINNING = re.compile(r"[0-9a-f]{1,23}")
#: ids that an error lists.
_LISTED_COUNT = 5


def full_id(service: Asked, text: str) -> str:
    """Return the id of the deployment that `text` is the id, or the beginning of the id, of.

    Raises:
        DeploymentNotFound: no id begins like this.
        ConfigError: more than one does.
    """
    if is_id(text):
        return text
    if not _BEGINNING.fullmatch(text):
        raise DeploymentNotFound(text[:100])
    found = service.ids_beginning(text, _LISTED_COUNT + 1)
    if not found:
        raise DeploymentNotFound(text)
    return _only(found, text, "DEPLOYMENT")


def is_beginning(text: str) -> bool:
    """Tell whether a text may be an id or the beginning of one."""
    return is_id(text) or _BEGINNING.fullmatch(text) is not None


def full_playbook_id(service: Asked, text: str) -> str:
    """Return the id of the stored playbook that `text` is the beginning of the id of; else `text` itself.

    Raises:
        ConfigError: more than one id begins like this.
    """
    if not _BEGINNING.fullmatch(text):
        return text
    found = [row.id for row in service.library.playbooks() if row.id.startswith(text)]
    return _only(found, text, "ID") if found else text


def _only(found: list[str], text: str, argument: str) -> str:
    if len(found) > 1:
        more = ", ..." if len(found) > _LISTED_COUNT else ""
        listed = ", ".join(found[:_LISTED_COUNT])
        raise ConfigError(f"more than one id begins with {text}: {listed}{more}", key=argument)
    return found[0]
