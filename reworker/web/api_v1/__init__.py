"""Our own API: its operations by what they are about, and the document that describes them."""

from reworker.web.api_v1 import deployments
from reworker.web.operations import Operation
from reworker.web.routes import GuardedRoute

OPERATIONS: tuple[Operation, ...] = (*deployments.OPERATIONS,)
OPEN_ROUTES: tuple[GuardedRoute, ...] = ()
