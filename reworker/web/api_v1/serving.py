"""What operations ask the core, in the name of who asks; and ids from addresses."""

from __future__ import annotations

from reworker.core.guarded import GuardedService
from reworker.core.tasks.guarded import GuardedTasks
from reworker.errors import DeploymentNotFound, PlaybookNotFound
from reworker.ids import is_id
from reworker.web.operations import Call


def core_of(call: Call) -> GuardedService:
    """Return the core's service, which does for who asks what they may."""
    return GuardedService(call.site.service, call.site.access, call.who)


def tasks_of(call: Call) -> GuardedTasks:
    """Return codes, tasks and schedules, as far as who asks may use them."""
    return GuardedTasks(call.site.service, call.site.access, call.who)


def deployment_id(call: Call) -> str:
    """Return the id of the deployment in the address.

    Raises:
        DeploymentNotFound: it is no id.
    """
    found = call.path["deployment_id"]
    if not is_id(found):
        raise DeploymentNotFound(found[:100])
    return found


def playbook_id(call: Call) -> str:
    """Return the id of the playbook in the address.

    Raises:
        PlaybookNotFound: it is no id.
    """
    found = call.path["playbook_id"]
    if not is_id(found):
        raise PlaybookNotFound(found[:100])
    return found
