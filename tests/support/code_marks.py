"""Tasks of code packages that say over a socket when they begin and end, and hold it as long as they live.

The processes of a task share one connection, which the kernel closes with the last of them: so it is known
here, whatever has become of their worker, when nothing of a task is left.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections import Counter
from datetime import UTC, datetime

import msgspec

#: names this listener's port to tasks.
PORT_VARIABLE = "MARKS_PORT"
#: what a task does first, in bash: it goes on when its begin is noted.
BEGIN = f"""exec 9<>"/dev/tcp/127.0.0.1/${PORT_VARIABLE}" || exit 70
echo "begin $TASK_ID $CODE_NAME" >&9; read -r _ <&9
"""
#: and when it has done its work.
END = 'echo "end $TASK_ID $CODE_NAME" >&9; read -r _ <&9\n'
#: seconds between two looks at whether we are to end.
_LOOK_S = 0.2


class Life(msgspec.Struct):
    """What is known of one process of a task and its children: when it began, said its end, and was gone."""

    task_id: str
    code_name: str
    begun_at: datetime
    ended_at: datetime | None = None
    gone_at: datetime | None = None


class Marks:
    """Listens until closed; one thread, so that what it notes has an order."""

    def __init__(self) -> None:
        self.lives: list[Life] = []
        #: lives of a code that there were at once at most.
        self.most: Counter[str] = Counter()
        self._of: dict[socket.socket, Life] = {}
        self._guard = threading.Lock()
        self._is_closed = False
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="marks", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> list[Life]:
        """Those of which something is left."""
        with self._guard:
            return [one for one in self.lives if one.gone_at is None]

    def close(self) -> None:
        """Listen no more."""
        self._is_closed = True
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._is_closed:
            for key, _ in self._selector.select(_LOOK_S):
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj.fileno() >= 0:
                    self._read(key.fileobj)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            made, _ = self._listener.accept()
            made.setblocking(False)
            self._selector.register(made, selectors.EVENT_READ)

    def _read(self, client: socket.socket) -> None:
        try:
            data = client.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        with self._guard:
            for line in data.decode().splitlines():
                self._note(client, *line.split())
            if not data:
                self._gone(client)
        if data:
            with contextlib.suppress(OSError):
                client.sendall(b"noted\n")

    def _note(self, client: socket.socket, kind: str, task_id: str, code_name: str) -> None:
        now = datetime.now(UTC)
        if kind == "end":
            self._of[client].ended_at = now
            return
        for other in [one for one, life in self._of.items() if life.code_name == code_name]:
            if _is_closed(other):  # before this one began, which is why it could
                self._gone(other)
        self._of[client] = life = Life(task_id, code_name, now)
        self.lives.append(life)
        count = sum(one.code_name == code_name for one in self._of.values())
        self.most[code_name] = max(self.most[code_name], count)

    def _gone(self, client: socket.socket) -> None:
        if (life := self._of.pop(client, None)) is not None:
            life.gone_at = datetime.now(UTC)
        self._selector.unregister(client)
        client.close()


def _is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
