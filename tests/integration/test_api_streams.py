"""Streams of the API: they give what the database has, can be resumed, and cost little while idle."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest

from reworker.clock import SystemClock
from reworker.core.access import Access
from reworker.core.principal import Limits, Scope
from reworker.core.service import Service
from reworker.storage.contract import LogRow
from reworker.storage.opening import open_logs, open_storage
from tests.support.api import Api, playbook, serving
from tests.support.processes import Process
from tests.support.waiting import wait_until

AT = datetime(2026, 1, 1, tzinfo=UTC)
#: streams that do nothing, and bytes that they may cost the server together.
IDLE_COUNT, IDLE_BYTES = 1000, 100 << 20
#: events at the beginning of each deployment: it is submitted, and has its locks.
BEGUN = ["event", "event", "state"]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("streams")) as made:
        yield made


@pytest.fixture
def own_id(api: Api, request: pytest.FixtureRequest) -> str:
    """Give a deployment of its own host, which nobody else has a lock on."""
    return api.start(playbook(hosts=f"[{re.sub('[^a-z]', '', request.node.name)[-40:]}]"))


class Stream:
    """A stream that is read event by event."""

    def __init__(self, answer: httpx.Response) -> None:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        self._lines = answer.iter_lines()

    def next(self) -> tuple[str, str, Any]:
        """Return (event, id, data) of the next event."""
        found: dict[str, str] = {}
        for line in self._lines:
            if not line and "event" in found:
                return found["event"], found.get("id", ""), json.loads(found["data"])
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                found[name] = value
        raise EOFError("the stream has ended")

    def take(self, count: int) -> list[tuple[str, str, Any]]:
        return [self.next() for _ in range(count)]

    def until(self, kind: str) -> list[tuple[str, str, Any]]:
        """Return the events to the first of a kind."""
        found = [self.next()]
        while found[-1][0] != kind:
            found.append(self.next())
        return found

    def rest(self) -> list[tuple[str, str, Any]]:
        """Return the events to the end, be it a cut."""
        found = []
        with contextlib.suppress(httpx.HTTPError, EOFError):
            while True:
                found.append(self.next())
        return found


@contextmanager
def following(client: httpx.Client, path: str, last: str = "") -> Iterator[Stream]:
    headers = {"Last-Event-ID": last} if last else {}
    with client.stream("GET", path, headers=headers) as answer:
        yield Stream(answer)


def add_lines(api: Api, own_id: str, first: int, count: int) -> None:
    """Write lines of output as the core does."""
    lines = [[1, AT, f"line {number}"] for number in range(first, first + count)]
    api.logs.add([LogRow(own_id, first, count, msgspec.json.encode(lines))])


def kinds(events: list[tuple[str, str, Any]]) -> list[str]:
    return [kind for kind, _, _ in events]


def test_stream_gives_what_was_and_what_comes(api: Api, own_id: str) -> None:
    with following(api.client(Scope.READ), f"/deployments/{own_id}/stream") as stream:
        begun = stream.take(3)
        assert kinds(begun) == BEGUN
        assert [one[2]["seq"] for one in begun[:2]] == [1, 2]
        assert begun[2][2]["status"] == "running"
        api.service.pause(own_id, actor="ann", reason="lunch")
        paused, state = stream.take(2)
        assert (paused[2]["event"], paused[2]["data"]["reason"]) == ("PauseRequested", "lunch")
        assert state[2]["status"] == "paused"
        add_lines(api, own_id, 1, 3)
        assert [one[2]["text"] for one in stream.take(3)] == ["line 1", "line 2", "line 3"]


def test_stream_ends_after_the_end_of_its_deployment(api: Api) -> None:
    first = api.start(playbook(hosts="[one]"))
    own_id = api.start(playbook(hosts="[one]"))
    with following(api.client(Scope.READ), f"/deployments/{own_id}/stream") as stream:
        stream.until("state")
        api.service.cancel(own_id, actor="ann")
        found = stream.until("end")
        assert found[-2][2]["status"] == "cancelled"
        with pytest.raises(EOFError):
            stream.next()
    assert not api.service.deployment(first).is_over


def test_stream_goes_on_behind_the_last_event(api: Api, own_id: str) -> None:
    client, path = api.client(Scope.READ), f"/deployments/{own_id}/stream"
    add_lines(api, own_id, 1, 5)
    api.service.pause(own_id)
    with following(client, path) as stream:
        whole = stream.until("state")
    assert kinds(whole) == ["event"] * 3 + ["log"] * 5 + ["state"]
    for place, (_, own, _) in enumerate(whole[:-1]):
        with following(client, path, own) as stream:
            assert stream.until("state") == whole[place + 1 :]


@pytest.mark.parametrize(
    "last", ["-1", "x", "9" * 400, "99999", "0", "1.x", "1e9", "é", "' or 1", "3.3.3", "<b>"]
)
def test_event_id_that_was_not_given_begins_at_the_beginning(api: Api, own_id: str, last: str) -> None:
    client = api.client(Scope.READ)
    headers = {b"Last-Event-ID": last.encode()}
    with client.stream("GET", f"/deployments/{own_id}/stream", headers=headers) as answer:
        assert kinds(Stream(answer).take(3)) == BEGUN


def test_stream_begins_where_the_query_says(api: Api, own_id: str) -> None:
    client, path = api.client(Scope.READ), f"/deployments/{own_id}/stream"
    add_lines(api, own_id, 1, 1500)
    with following(client, f"{path}?after_seq=2&after_no=1498") as stream:
        assert [one[1] for one in stream.take(3)] == ["2.1499", "2.1500", "2.1500"]
    with following(client, f"{path}?after_seq=2&tail=2") as stream:
        assert [one[2].get("no") for one in stream.take(3)] == [1499, 1500, None]
    with following(client, f"{path}?after_seq=2&log=false") as stream:
        assert kinds(stream.take(1)) == ["state"]
    with following(client, path) as stream:
        found = stream.until("state")
    assert [one[2]["no"] for one in found if one[0] == "log"] == list(range(1, 1501))


def test_head_of_a_stream_has_no_body_and_does_not_wait(api: Api, own_id: str) -> None:
    answer = api.client(Scope.READ).head(f"/deployments/{own_id}/stream")
    assert (answer.status_code, answer.content) == (200, b"")


def test_slow_reader_does_not_hold_up_the_others(api: Api, own_id: str) -> None:
    for first in range(1, 6000, 1000):
        add_lines(api, own_id, first, 1000)
    host, port = urlsplit(api.url).hostname, urlsplit(api.url).port
    client, path = api.client(Scope.READ), f"/deployments/{own_id}/stream"
    with ExitStack() as stack:
        for _ in range(45):  # more than there are threads for requests
            lazy = stack.enter_context(socket.create_connection((host, port)))
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.sendall(request_of(f"/api/v1{path}", api.token()))
        with following(client, f"{path}?log=false") as stream:
            stream.until("state")
            api.service.pause(own_id)
            assert kinds(stream.take(2)) == ["event", "state"]


def test_list_stream_tells_of_changes_that_may_be_seen(api: Api) -> None:
    limited = api.client(Scope.READ, limits=Limits(groups=("seen",)), name="limited")
    with following(limited, "/stream") as stream:
        assert kinds(stream.take(1)) == ["reset"]
        ids = [api.start(playbook(group=group, hosts=f"[{group}]")) for group in ("hidden", "seen")]
        kind, position, data = stream.next()
        assert (kind, data["id"], data["status"]) == ("change", ids[1], "running")
    api.service.pause(ids[1])
    with following(limited, "/stream", position) as stream:
        kind, _, data = stream.next()
        assert (kind, data["status"]) == ("change", "paused")
        api.service.cancel(ids[1])
        assert stream.next()[2]["status"] in ("cancelling", "cancelled")
    for foreign in ("x", "00000000.1", f"{position}9999", "9" * 300):
        with following(limited, "/stream", foreign) as stream:
            assert kinds(stream.take(1)) == ["reset"]


def test_idle_stream_says_that_it_is_there_and_ends_so_that_its_token_is_looked_at(tmp_path: Path) -> None:
    with serving(tmp_path) as api:
        api.watcher.heartbeat_s, api.watcher.life_s = 0.05, 1.0
        own_id, client = api.start(), api.client(Scope.READ)
        for path in (f"/deployments/{own_id}/stream", "/stream"):
            text = client.get(path).text
            assert text.count(": still here\n\n") >= 2
            assert "event: end" not in text
            assert text.startswith("retry: 1000\n\n")


def test_stream_goes_on_after_the_server_was_killed(process: Callable[..., Process], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'killed.db'}"
    storage, logs = open_storage(url), open_logs(url)
    access, service = Access(storage, SystemClock()), Service(storage, logs, SystemClock())
    headers = {"Authorization": f"Bearer {access.create_token('watcher', [Scope.READ])[1]}"}
    own_id = service.submit(playbook())
    service.pause(own_id)
    events: list[tuple[str, str, Any]] = []
    for act in (service.resume, service.pause):
        server, (host, port) = web_process(process, url)
        last = events[-1][1] if events else ""
        with (
            httpx.Client(base_url=f"http://{host}:{port}/api/v1", headers=headers, timeout=30) as client,
            following(client, f"/deployments/{own_id}/stream", last) as stream,
        ):
            events += stream.until("state")
            act(own_id)
            server.kill9()
            events += stream.rest()
    server, (host, port) = web_process(process, url)
    with (
        httpx.Client(base_url=f"http://{host}:{port}/api/v1", headers=headers, timeout=30) as client,
        following(client, f"/deployments/{own_id}/stream", events[-1][1]) as stream,
    ):
        events += stream.until("state")
    seen = [data["seq"] for kind, _, data in events if kind == "event"]
    assert seen == [one.seq for one in service.events(own_id)] == [1, 2, 3, 4, 5]
    assert events[-1][2]["status"] == service.deployment(own_id).state.status == "paused"
    access.close()
    storage.close()
    logs.close()


def web_process(process: Callable[..., Process], url: str) -> tuple[Process, tuple[str, int]]:
    """Start a server in a process of its own; return it and where it listens."""
    server = process("-m", "reworker", "web", "--db", url, "--port", "0")
    found = re.search(r"http://([\w.]+):(\d+)", str(server.wait_for_line(r"ready: http://(\S+)")))
    assert found is not None
    return server, (found[1], int(found[2]))


def test_stream_needs_a_token_that_may_see_the_deployment(api: Api, own_id: str) -> None:
    path = f"/deployments/{own_id}/stream"
    assert api.anybody().get(path).status_code == 401
    assert api.client(Scope.WORKER).get(path).status_code == 403
    assert api.client(Scope.READ, limits=Limits(groups=("other",))).get(path).status_code == 403


def end_of(client: httpx.Client, path: str, then: Callable[[], object]) -> str:
    """Follow, do something, and return the name of the problem with which the stream ends."""
    with following(client, path) as stream:
        stream.next()
        then()
        return str(stream.until("problem")[-1][2]["name"])


@pytest.mark.parametrize("path", ["/deployments/{}/stream", "/stream"])
def test_streams_end_soon_after_their_token_was_revoked(tmp_path: Path, path: str) -> None:
    with serving(tmp_path) as api:
        api.watcher.check_s = 0.1
        where = path.format(api.start())
        view, text = api.access.create_token("leaver", [Scope.READ])
        client = api.anybody(headers={"Authorization": f"Bearer {text}"})
        assert end_of(client, where, lambda: api.access.revoke(view.id)) == "not-authenticated"
        secret = api.access.open_session(api.token(Scope.READ))
        browser = api.anybody(cookies={"reworker": secret})
        assert end_of(browser, where, lambda: api.access.close_session(secret)) == "not-authenticated"


@pytest.mark.parametrize("scope", [Scope.READ, Scope.RUN, Scope.CANCEL, Scope.APPROVE])
def test_streams_go_on_when_their_token_is_looked_at_and_counts(tmp_path: Path, scope: Scope) -> None:
    with serving(tmp_path) as api:
        api.watcher.check_s, api.watcher.life_s = 0.05, 0.5
        text = api.client(scope).get("/stream").text
    assert "event: reset" in text
    assert "event: problem" not in text


def test_streams_end_when_their_token_does_though_much_happens(tmp_path: Path) -> None:
    with serving(tmp_path) as api:
        api.watcher.check_s = 0.1
        ends_at = SystemClock().now() + timedelta(seconds=3)
        text = api.access.create_token("guest", [Scope.READ], expires_at=ends_at)[1]
        client = api.anybody(headers={"Authorization": f"Bearer {text}"})
        with following(client, "/stream") as stream:
            found = (api.start() and stream.next()[0] for _ in range(1000))
            assert "problem" in found, "the stream goes on after the end of its token"
        assert SystemClock().now() >= ends_at


def test_streams_end_with_the_server_at_once(tmp_path: Path) -> None:
    with serving(tmp_path) as api:
        own_id = api.start()
        client = httpx.Client(
            base_url=f"{api.url}/api/v1", headers={"Authorization": f"Bearer {api.token()}"}, trust_env=False
        )
        pool = ThreadPoolExecutor(2)
        begun = threading.Barrier(3)

        def follow(path: str) -> str:
            with following(client, path) as stream:
                stream.next()
                begun.wait(30)
                with pytest.raises(EOFError):
                    stream.take(1000)
                return "ended"

        ends = [pool.submit(follow, path) for path in (f"/deployments/{own_id}/stream", "/stream")]
        begun.wait(30)
    assert [one.result(30) for one in ends] == ["ended", "ended"]
    pool.shutdown()
    client.close()


def request_of(path: str, token: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) << 10


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def idle_part(pid: int) -> float:
    """Return the part of a processor that a process uses in a second, if it is below a tenth."""
    began_s = cpu_s(pid)
    threading.Event().wait(1)
    used = cpu_s(pid) - began_s
    return max(used, 0.001) if used < 0.1 else 0.0


@pytest.mark.slow
def test_1000_idle_streams_cost_little(process: Callable[..., Process], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'idle.db'}"
    storage, logs = open_storage(url), open_logs(url)
    access, service = Access(storage, SystemClock()), Service(storage, logs, SystemClock())
    token = access.create_token("idler", [Scope.READ])[1]
    ids = [service.submit(playbook(hosts=f"[h{number}]")) for number in range(20)]
    server, place = web_process(process, url)
    with ExitStack() as stack:
        warm = open_streams(stack, place, ids[:10], token, 10)
        before = resident_bytes(server.pid)
        streams = open_streams(stack, place, ids, token, IDLE_COUNT)
        idle = wait_until(lambda: idle_part(server.pid), 60, "streams that do nothing", poll_s=0.5)
        grown = resident_bytes(server.pid) - before
        print(f"{IDLE_COUNT} idle streams: {grown >> 20} MiB, {idle:.1%} of a processor")
        assert grown < IDLE_BYTES
        service.pause(ids[0])
        news = [one for place, one in enumerate(streams) if place % len(ids) == 0]
        for one in (*news, warm[0]):
            one.settimeout(60)
            wait_until(lambda one=one: b'"paused"' in one.recv(65536))
    access.close()
    storage.close()
    logs.close()


def open_streams(
    stack: ExitStack, place: tuple[str, int], ids: list[str], token: str, count: int
) -> list[socket.socket]:
    """Open so many streams, each read up to its first state."""
    found = []
    for number in range(count):
        one = stack.enter_context(socket.create_connection(place, timeout=60))
        one.sendall(request_of(f"/api/v1/deployments/{ids[number % len(ids)]}/stream", token))
        found.append(one)
    for one in found:
        text = b""
        while b"event: state" not in text:
            text += one.recv(65536)
    return found
