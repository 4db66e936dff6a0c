"""A private RabbitMQ node: its own ports, epmd and folder, beside any other node."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from tests.support.ports import free_port, is_free
from tests.support.rabbitmq_homes import SCRIPTS, home_of, wanted_version
from tests.support.waiting import wait_until

#: seconds a node may take to accept clients; 5 to 11 on an idle machine.
START_S = 90.0
#: looks at the acknowledgement timeout while it passes.
TICKS_COUNT = 10
#: seconds a node may take to stop before it is killed; usually 1.
STOP_S = 30.0

#: seconds that the shared node waits for an acknowledgement: less than the long steps of the tests take.
SESSION_ACK_TIMEOUT_S = 60
#: what version 4 can be told to refuse.
OLD_FEATURES = ("transient_nonexcl_queues", "global_qos")

NODENAME = "reworker-test@localhost"


def is_installed() -> bool:
    """Tell whether the version that this run is about is on this machine."""
    home = home_of(wanted_version())
    return bool(home.version) and home.has("epmd")


def session_node() -> RabbitMQNode:
    """Return the node that the tests of a session share, not started."""
    return RabbitMQNode(consumer_timeout_s=SESSION_ACK_TIMEOUT_S)


def without_old_features() -> list[str]:
    """Return settings that forbid what later versions have given up, where this one knows how to."""
    if int(home_of(wanted_version()).version.partition(".")[0] or 0) < 4:
        return []
    return [f"deprecated_features.permit.{one} = false" for one in OLD_FEATURES]


class RabbitMQNode:
    """One node in a temporary folder; start, stop, kill and restart keep its data.

    Ports stay the same over restarts, so clients can reconnect. ``close`` stops
    the node and its epmd and removes the folder; it is safe to call twice.

    Args:
        version: for example ``4.3``; empty is the one that this run of the tests is about.
        consumer_timeout_s: the broker's acknowledgement timeout; None keeps
            its default of 30 minutes.
        settings: further lines of its configuration.
    """

    def __init__(
        self, version: str = "", *, consumer_timeout_s: float | None = None, settings: Sequence[str] = ()
    ) -> None:
        self._home = home_of(version or wanted_version())
        self._settings = settings
        self.folder = Path(tempfile.mkdtemp(prefix="reworker-rabbitmq-"))
        self.port = free_port()
        self.epmd_port = free_port()
        self._dist_port = free_port()
        self._consumer_timeout_s = consumer_timeout_s
        self._epmd: subprocess.Popen[bytes] | None = None
        self._node: subprocess.Popen[bytes] | None = None
        (self.folder / "rabbitmq.conf").write_text(self._config())
        (self.folder / "enabled_plugins").write_text("[].\n")

    def _config(self) -> str:
        lines = [f"listeners.tcp.1 = 127.0.0.1:{self.port}", "disk_free_limit.absolute = 50MB"]
        if self._consumer_timeout_s is not None:
            lines.append(f"consumer_timeout = {int(self._consumer_timeout_s * 1000)}")
        return "\n".join([*lines, *self._settings]) + "\n"

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
        if not self._home.is_own:
            kept = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        folder = self._home.inside(self.folder)
        erlang_arguments = "-kernel inet_dist_use_interface {127,0,0,1}"
        if self._consumer_timeout_s is not None:
            # The timeout is only looked at once per tick, by default every minute.
            tick_ms = min(60_000, max(500, int(self._consumer_timeout_s * 1000 / TICKS_COUNT)))
            erlang_arguments += f" -rabbit channel_tick_interval {tick_ms}"
        return kept | {
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self.epmd_port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            # The script then becomes the server, so that our signals reach it.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_NODENAME": NODENAME,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": erlang_arguments,
        }

    @property
    def pid(self) -> int:
        """The process of the node, which has been started."""
        assert self._node is not None
        return self._node.pid

    def start(self) -> None:
        """Start the node and wait until it greets AMQP clients.

        Raises:
            RuntimeError: it ended during its start; the message has its last log lines.
            TimeoutError: it does not greet within `START_S` seconds.
        """
        if self._epmd is None:
            self._epmd = self._spawn(
                ["epmd", "-address", "127.0.0.1", "-port", str(self.epmd_port)], "epmd.out"
            )
            wait_until(lambda: not is_free(self.epmd_port), 30, "epmd to listen")
        self._node = self._spawn([str("/" / SCRIPTS / "rabbitmq-server")], "server.out")
        wait_until(self._is_ready, START_S, f"RabbitMQ on port {self.port}", poll_s=0.05)

    def _spawn(self, command: list[str], output: str) -> subprocess.Popen[bytes]:
        # Nothing may outlive this process, however it ends. The kernel ties that to
        # the starting thread: the node must not end with a passing thread of a test.
        is_main = threading.current_thread() is threading.main_thread()
        has_leash = is_main and shutil.which("setpriv") is not None
        leash = ["setpriv", "--pdeathsig", "KILL", "--"] if has_leash else []
        with (self.folder / output).open("ab") as log:
            return subprocess.Popen(
                leash + self._home.command(self.folder, *command),
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _is_ready(self) -> bool:
        if self._node is None or self._node.poll() is not None:
            raise RuntimeError(f"RabbitMQ ended during its start:\n{self.log()[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as client:
            client.settimeout(5)
            client.sendall(b"AMQP\x00\x00\x09\x01")
            return client.recv(1) == b"\x01"  # a method frame: connection.start
        return False

    @property
    def version(self) -> str:
        """Its full version, for example ``3.10.8``."""
        return self._home.version

    @property
    def is_running(self) -> bool:
        """Whether the node's process lives."""
        return self._node is not None and self._node.poll() is None

    def log(self) -> str:
        """Return what the node wrote so far: its output and its log files."""
        files = [self.folder / "server.out", *sorted((self.folder / "log").glob("*.log"))]
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    def stop(self) -> None:
        """Stop the node in good order; its data stays for the next `start`."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the node as a power cut would; its data stays as it is on disk."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop in good order and start again on the same ports."""
        self.stop()
        self.start()

    def _end(self, how: signal.Signals) -> None:
        node, self._node = self._node, None
        if node is not None:
            _end_group(node, how)

    def close(self) -> None:
        """Stop everything and remove the folder; safe to call twice."""
        self.kill()
        epmd, self._epmd = self._epmd, None
        if epmd is not None:
            _end_group(epmd, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> RabbitMQNode:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def url(self, vhost: str = "/") -> str:
        """Return the AMQP URL of a virtual host for the user guest."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    def rabbitmqctl(self, *arguments: str, timeout_s: float = 60.0) -> str:
        """Run the server's own command line (about 1.5 s) and return its output.

        Raises:
            subprocess.CalledProcessError: it refused; `output` says why.
        """
        return self._run(
            [str("/" / SCRIPTS / "rabbitmqctl"), "-q", "-n", NODENAME, *arguments], "", timeout_s
        )

    def evaluate(self, expressions: str, *, timeout_s: float = 60.0) -> str:
        """Evaluate Erlang expressions on the node (some milliseconds) and return the answer.

        Args:
            expressions: Erlang source without the final dot.
            timeout_s: seconds until the call is given up.

        Raises:
            RuntimeError: the expressions failed on the node.
            subprocess.CalledProcessError: the node was not reached.
        """
        if not self._home.has("erl_call"):
            return self.rabbitmqctl("eval", expressions + ".", timeout_s=timeout_s)
        cookie = (self.folder / ".erlang.cookie").read_text().strip()
        command = ["erl_call", "-sname", NODENAME, "-c", cookie, "-e"]
        try:
            answer = self._run(command, expressions + ".\n", timeout_s)
        except subprocess.CalledProcessError:
            # It gives a busy node little time to shake hands; nothing was asked yet. This one is patient.
            return self.rabbitmqctl("eval", expressions + ".", timeout_s=timeout_s)
        if not answer.startswith("{ok, "):
            raise RuntimeError(f"RabbitMQ could not evaluate {expressions!r}: {answer}")
        return answer.strip().removeprefix("{ok, ").removesuffix("}")

    def _run(self, command: list[str], text: str, timeout_s: float) -> str:
        done = subprocess.run(
            self._home.command(self.folder, *command),
            cwd=self.folder,
            env=self._environment(),
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=True,
        )
        return done.stdout

    def lend(self, file: Path) -> Path:
        """Copy a file into the node's folder, the only one that every version sees; return its path there."""
        copy = self.folder / f"{uuid.uuid4().hex}-{file.name}"
        shutil.copy(file, copy)
        return self._home.inside(self.folder) / copy.name

    def add_vhost(self, name: str = "") -> str:
        """Add a virtual host in which guest may do everything; return its name.

        Args:
            name: wanted name; empty makes a fresh one.
        """
        name = name or f"test-{uuid.uuid4().hex[:12]}"
        self.evaluate(
            f'ok = rabbit_vhost:add(<<"{name}">>, <<"test">>), '
            f'ok = rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"{name}">>, '
            f'<<".*">>, <<".*">>, <<".*">>, <<"test">>)'
        )
        return name

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host; its queues go and its connections are closed."""
        self.evaluate(f'rabbit_vhost:delete(<<"{name}">>, <<"test">>)')


def _end_group(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """Signal a process started as leader of its own group, and reap it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, how)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_S)
