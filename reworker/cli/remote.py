"""The core's service on a server, asked over its API; gives what `core.service` gives on a database."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from reworker.cli.asked import SERVER_LOOK_S
from reworker.cli.server_client import ServerClient, part
from reworker.core.batch import Applied, Result
from reworker.core.recorder import LogLine
from reworker.core.resumption import Scope
from reworker.core.service import AttemptView, DeploymentView, EventView
from reworker.core.submission import Terms
from reworker.errors import NothingChanged
from reworker.fsm.deployment import Deployment
from reworker.fsm.events import Decision
from reworker.fsm.plan import Plan
from reworker.fsm.plan_json import plan_from_json
from reworker.fsm.rules import Rules
from reworker.storage.rows import (
    ALL_DEPLOYMENTS,
    AttemptRow,
    DeploymentFilter,
    DeploymentRow,
    PlaybookRow,
)

#: deployments that one answer holds at most.
PAGE_COUNT = 1000

Json = Mapping[str, Any]


class RemoteReads:
    """Reads from a server; one thread."""

    def __init__(self, client: ServerClient) -> None:
        self._client = client
        #: last id of a page -> the server's cursor behind it.
        self._cursors: dict[str, str] = {}

    def deployment(self, deployment_id: str) -> DeploymentView:
        """Return a deployment; see `Asked`."""
        found = self._client.get(f"/deployments/{part(deployment_id)}", include="state")
        return _view(found, found["state"])

    def deployments(
        self,
        *,
        limit: int = 50,
        before_id: str = "",
        status: str = "",
        wanted: DeploymentFilter = ALL_DEPLOYMENTS,
    ) -> list[DeploymentView]:
        """Return deployments, newest first; see `Asked`. Of what is wanted, only the kind counts."""
        cursor = self._cursors.get(before_id, "") if before_id else ""
        if before_id and not cursor:
            return []  # the page before was the last one
        kind = {None: "all", True: "task", False: "deployment"}[wanted.is_task]
        query = {"limit": limit, "status": status, "include": "state", "cursor": cursor, "kind": kind}
        found = self._client.get("/deployments", **query)
        if found["items"] and found["next"]:
            self._cursors[found["items"][-1]["id"]] = found["next"]
        return [_view(one, one["state"]) for one in found["items"]]

    def ids_beginning(self, text: str, limit: int) -> list[str]:
        """Return ids that begin with a text; see `Asked`."""
        return [
            one["id"] for one in self._client.get("/deployments", id=text, limit=limit, kind="all")["items"]
        ]

    def now(self, views: Sequence[DeploymentView]) -> list[DeploymentView]:
        """Return them as they are: the server has looked."""
        return list(views)

    def plan(self, deployment_id: str) -> Plan:
        """Return a plan; see `Asked`."""
        return plan_from_json(self._client.get(f"/deployments/{part(deployment_id)}/plan"))

    def rules_of(self, deployment_id: str) -> Rules | None:
        """Return None: the server does not tell its rules."""
        return None

    def events(self, deployment_id: str, *, after_seq: int = 0) -> list[EventView]:
        """Return events; see `Asked`."""
        found = self._client.get(f"/deployments/{part(deployment_id)}/events", after_seq=after_seq)
        return [
            EventView(one["seq"], one["event"], _at(one["at"]), one["actor"], one["data"], one["ignored"])
            for one in found["items"]
        ]

    def attempts(self, deployment_id: str, *, after_number: int = 0) -> list[AttemptView]:
        """Return attempts; see `Asked`."""
        path = f"/deployments/{part(deployment_id)}/attempts"
        found = self._client.get(path, after_number=after_number)
        return [AttemptView(_attempt(one, deployment_id), one["data"]) for one in found["items"]]

    def log_lines(self, deployment_id: str, *, after_no: int = 0) -> list[LogLine]:
        """Return lines of output; see `Asked`."""
        found = self._client.get(f"/deployments/{part(deployment_id)}/log", after_no=after_no)
        return [LogLine(one["no"], one["attempt"], _at(one["at"]), one["text"]) for one in found["items"]]

    def problems(self, deployment_id: str) -> list[str]:
        """Have the server prove the history; see `Asked`."""
        return list(self._client.get(f"/deployments/{part(deployment_id)}/verify")["problems"])


class RemoteCore(RemoteReads):
    """Asks a server; one thread. Who acts is who the token belongs to: `actor` is not sent."""

    look_s = SERVER_LOOK_S

    def __init__(self, client: ServerClient) -> None:
        super().__init__(client)
        #: stored playbooks.
        self.library = RemoteLibrary(client)

    def begin(
        self,
        text: str,
        dynamic: Mapping[str, Any],
        *,
        actor: str,
        terms: Terms,
        playbook_id: str = "",
        source: str = "playbook",
    ) -> str:
        """Start a deployment; one, however often the network fails. See `Asked`."""
        body = {"values": dict(dynamic), "unattended": terms.is_unattended, "reason": terms.reason}
        if terms.domains:  # an older server knows none
            body["domains"] = {name: list(some) for name, some in terms.domains.items()}
        body |= {"playbook_id": playbook_id} if playbook_id else {"text": text}
        key = terms.idempotency_key or uuid.uuid4().hex
        return str(self._client.ask("POST", "/deployments", body, key=key)["id"])

    def cancel(self, deployment_id: str, *, actor: str = "", reason: str = "") -> Result:
        """Ask for its end; see `Asked`."""
        return self._act(deployment_id, "cancel", reason=reason)

    def pause(self, deployment_id: str, *, actor: str = "", reason: str = "") -> Result:
        """Dispatch nothing new; see `Asked`."""
        return self._act(deployment_id, "pause", reason=reason)

    def resume(self, deployment_id: str, *, actor: str = "", reason: str = "") -> Result:
        """Go on after a pause; see `Asked`."""
        return self._act(deployment_id, "resume", reason=reason)

    def retry(
        self,
        deployment_id: str,
        scope: Scope | None = None,
        *,
        text: str = "",
        dynamic: Mapping[str, Any] | None = None,
        actor: str = "",
        reason: str = "",
        source: str = "playbook",
    ) -> str:
        """Continue one that has ended; see `Asked`."""
        scope = scope or Scope()
        body = {
            "text": text,
            "values": dict(dynamic or {}),
            "start": scope.start,
            "hosts": list(scope.hosts),
            "reason": reason,
        }
        return str(self._client.ask("POST", f"/deployments/{part(deployment_id)}/retry", body)["id"])

    def again(self, deployment_id: str, *, actor: str = "", reason: str = "") -> str:
        """Start a new one of the same text with the same values; see `Asked`."""
        path, key = f"/deployments/{part(deployment_id)}/again", uuid.uuid4().hex
        return str(self._client.ask("POST", path, {"reason": reason}, key=key)["id"])

    def decide(
        self, deployment_id: str, attempt: int, decision: Decision, *, actor: str = "", reason: str = ""
    ) -> Result:
        """End a doubt; see `Asked`."""
        return self._act(deployment_id, "decide", attempt=attempt, decision=decision, reason=reason)

    def approve(self, deployment_id: str, attempt: int = 0, *, actor: str = "", reason: str = "") -> Result:
        """Consent; see `Asked`."""
        return self._act(deployment_id, "approve", attempt=attempt, reason=reason)

    def refuse(self, deployment_id: str, attempt: int = 0, *, actor: str = "", reason: str = "") -> Result:
        """Do not consent; see `Asked`."""
        return self._act(deployment_id, "refuse", attempt=attempt, reason=reason)

    def _act(self, deployment_id: str, action: str, **body: Any) -> Result:
        try:
            self._client.ask("POST", f"/deployments/{part(deployment_id)}/{action}", body)
        except NothingChanged as error:
            return Result(Applied.IGNORED, str(error))
        return Result(Applied.CHANGED)


class RemoteLibrary:
    """Stored playbooks of a server; see `cli.asked.AskedLibrary`."""

    def __init__(self, client: ServerClient) -> None:
        self._client = client

    def store(self, text: str, *, actor: str = "", playbook_id: str = "") -> PlaybookRow:
        """Store a playbook, or a new version of one."""
        if playbook_id:
            found = self._client.ask("PUT", f"/playbooks/{part(playbook_id)}", {"text": text})
        else:
            found = self._client.ask("POST", "/playbooks", {"text": text})
        return _playbook(found)

    def remove(self, playbook_id: str, *, actor: str = "") -> None:
        """Remove a playbook."""
        self._client.ask("DELETE", f"/playbooks/{part(playbook_id)}")

    def playbook(self, playbook_id: str, version: int = 0) -> PlaybookRow:
        """Return a version; 0 is the newest."""
        below = f"/versions/{version}" if version else ""
        return _playbook(self._client.get(f"/playbooks/{part(playbook_id)}{below}"))

    def playbooks(self, *, group: str = "") -> list[PlaybookRow]:
        """Return the newest version of each, without its text."""
        return list(self._all(group))

    def _all(self, group: str) -> Iterator[PlaybookRow]:
        cursor: str | None = ""
        while cursor is not None:
            found = self._client.get("/playbooks", group=group, limit=PAGE_COUNT, cursor=cursor)
            yield from map(_playbook, found["items"])
            cursor = found["next"]


def _view(found: Json, state: Json) -> DeploymentView:
    row = DeploymentRow(
        id=found["id"],
        playbook_id=found["playbook_id"],
        group=found["group"],
        name=found["name"],
        status=found["status"],
        version=0,
        snapshot=b"",
        last_seq=found["last_seq"],
        last_hash="",
        step_count=found["steps"],
        actor=found["actor"],
        created_at=_at(found["created_at"]),
        updated_at=_at(found["updated_at"]),
        ended_at=_at(found["ended_at"]) if found["ended_at"] else None,
        resumes=found["resumes"],
        environment=found["environment"],
        playbook_version=found.get("playbook_version"),
        is_task=found.get("is_task", False),
    )
    return DeploymentView(row, msgspec.convert(state, Deployment))


def _attempt(found: Json, deployment_id: str) -> AttemptRow:
    names = {"step_index": found["index"], "deployment_id": deployment_id, "data": b""}
    plain = {name: found[name] for name in AttemptRow.__struct_fields__ if name in found and name != "data"}
    return msgspec.convert({**plain, **names}, AttemptRow)


def _playbook(found: Json) -> PlaybookRow:
    plain = {name: found[name] for name in PlaybookRow.__struct_fields__ if name in found}
    return msgspec.convert({**plain, "text": found.get("text") or ""}, PlaybookRow)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)
