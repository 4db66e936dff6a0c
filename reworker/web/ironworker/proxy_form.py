"""Requests as they are sent to a proxy, with a whole URL in their first line.

Some clients of IronWorker always send them so; the others do when ``HTTP_PROXY`` names us, which lets
programs run unchanged that know the address of IronWorker alone.
"""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

_TARGET = re.compile(r"https?://[^/]*(/2/.*)", re.IGNORECASE | re.DOTALL)


class ProxyForm:
    """Takes the path of such a request for one of ours, when it is one of IronWorker's.

    The host that it names is not looked at afterwards: that protects from pages of other sites whose name
    points at this machine, and no browser sends such a request unless it was told to use us as its proxy.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; see ASGI."""
        found = _TARGET.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if found is not None and scope.get("server"):
            host = _host_of(*scope["server"])
            headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
            path = found[1]
            scope = {
                **scope,
                "path": path,
                "raw_path": path.encode("utf-8", "surrogatepass"),
                "headers": [*headers, (b"host", host.encode("ascii"))],
            }
        await self._app(scope, receive, send)


def _host_of(name: str, port: int | None) -> str:
    """Return our own address as a client would name it."""
    host = f"[{name}]" if ":" in name else name
    return f"{host}:{port}" if port else host
