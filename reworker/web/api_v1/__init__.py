"""Our own API: its operations by what they are about, and the document that describes them."""

from reworker.web.api_v1 import (
    actions,
    bulk,
    bus,
    checking,
    deployments,
    history,
    letters,
    live,
    openapi,
    people,
    playbooks,
    work,
)
from reworker.web.operations import Operation
from reworker.web.routes import GuardedRoute

OPERATIONS: tuple[Operation, ...] = (
    # before those with an id: `actions`, `validate` and `plan` are none
    *bulk.OPERATIONS,
    *checking.OPERATIONS,
    *deployments.OPERATIONS,
    *history.OPERATIONS,
    *actions.OPERATIONS,
    *live.OPERATIONS,
    *playbooks.OPERATIONS,
    *people.OPERATIONS,
    *bus.OPERATIONS,
    *letters.OPERATIONS,
    *work.OPERATIONS,
)
OPEN_ROUTES: tuple[GuardedRoute, ...] = (openapi.document_route(OPERATIONS),)
