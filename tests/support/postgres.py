"""A private PostgreSQL server: its own port and folder, run by a user without privileges."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from types import TracebackType

import psycopg
from psycopg import sql

from tests.support.ports import free_port
from tests.support.waiting import wait_until

#: where Debian keeps the programs of each version; 12 has version 15.
PROGRAMS = max(Path("/usr/lib/postgresql").glob("[0-9][0-9]/bin"), default=Path("/usr/lib/postgresql/bin"))
#: the server refuses to run as root; then it runs as the user that its package makes.
SYSTEM_USER = "postgres"
#: seconds a server may take to accept clients, to recover from a kill too; usually less than 1.
START_S = 60.0
#: seconds a server may take to stop before it is killed.
STOP_S = 30.0

USER, PASSWORD = "reworker", "s3cret-word"


def is_installed() -> bool:
    """Tell whether the server's package is on this machine, and whether this user may start it."""
    return (PROGRAMS / "initdb").exists() and (os.geteuid() != 0 or shutil.which("setpriv") is not None)


class PostgresServer:
    """One server in a temporary folder; start, stop, kill and restart keep its data and its port.

    ``close`` stops it and removes the folder; it is safe to call twice.

    Args:
        is_durable: it syncs to the disk, as for a measurement; a test does without.
        settings: of the server, as on its command line: ``max_connections=5``.
    """

    def __init__(self, *settings: str, is_durable: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="reworker-postgres-"))
        self.port = free_port()
        self._settings = settings if is_durable else ("fsync=off", *settings)
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            shutil.chown(self.folder, SYSTEM_USER, SYSTEM_USER)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start the server, on a new folder after making its data, and wait until it accepts clients.

        Raises:
            RuntimeError: it ended during its start; the message has its last log lines.
            TimeoutError: it does not accept clients within `START_S` seconds.
        """
        if not self._data.exists():
            self._make_data()
        command = [str(PROGRAMS / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", *self._settings]
        self._process = self._spawn([*command, *(word for one in settings for word in ("-c", one))])
        wait_until(self._is_ready, START_S, f"PostgreSQL on port {self.port}", poll_s=0.02)

    def _make_data(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        options = ["-U", USER, "-A", "scram-sha-256", f"--pwfile={password}", "--no-sync", "--encoding=UTF8"]
        initdb = [str(PROGRAMS / "initdb"), "-D", str(self._data), "--locale=C.UTF-8", *options]
        if self._spawn(initdb).wait(START_S) != 0:
            raise RuntimeError(f"initdb failed:\n{self.log()[-2000:]}")

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        # Nothing may outlive this process, however it ends. The kernel ties that to the
        # starting thread: the server must not end with a passing thread of a test.
        is_main = threading.current_thread() is threading.main_thread()
        words: list[str] = []
        if os.geteuid() == 0:
            words += ["setpriv", f"--reuid={SYSTEM_USER}", f"--regid={SYSTEM_USER}", "--clear-groups"]
        if is_main and shutil.which("setpriv") is not None:
            words = [*(words or ["setpriv"]), "--pdeathsig=KILL"]
        with (self.folder / "server.out").open("ab") as log:
            return subprocess.Popen(
                [*words, *command],
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _is_ready(self) -> bool:
        if not self.is_running:
            raise RuntimeError(f"PostgreSQL ended during its start:\n{self.log()[-2000:]}")
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url()):
            return True
        return False

    @property
    def is_running(self) -> bool:
        """Whether the server's process lives."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """Return what the server wrote so far."""
        file = self.folder / "server.out"
        return file.read_text(errors="replace") if file.exists() else ""

    def stop(self) -> None:
        """Stop in good order, cutting off its clients; the data stays for the next `start`."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill the server; its data stays as it is."""
        # Its processes end by themselves after a SIGQUIT, which is a crash for the data; those of a server
        # that is killed alone go on for a moment, and the next start refuses.
        self._end(signal.SIGQUIT)

    def restart(self) -> None:
        """Stop in good order and start again on the same port."""
        self.stop()
        self.start()

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def close(self) -> None:
        """Stop the server and remove the folder; safe to call twice."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database for the server's first user."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement outside a transaction and return its rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql.SQL(statement))  # type: ignore[arg-type]  # no literal
            return cursor.fetchall() if cursor.description else []

    def add_database(self, name: str, *, options: str = "") -> str:
        """Make an empty database and return its URL."""
        self.execute(f'CREATE DATABASE "{name}" {options}')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, cutting off who uses it."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
