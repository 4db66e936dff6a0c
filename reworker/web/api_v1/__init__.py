"""Our own API: its operations by what they are about, and the document that describes them."""

from reworker.web.api_v1 import actions, deployments, history
from reworker.web.operations import Operation
from reworker.web.routes import GuardedRoute

OPERATIONS: tuple[Operation, ...] = (
    *deployments.OPERATIONS,
    *history.OPERATIONS,
    *actions.OPERATIONS,
)
OPEN_ROUTES: tuple[GuardedRoute, ...] = ()
