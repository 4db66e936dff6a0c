"""Making a deployment: from a playbook's text to its plan and its first event."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from reworker.core import parameters
from reworker.core.outgoing import step_body
from reworker.core.principal import Principal
from reworker.errors import ConfigError, KeyReused, MessageError, PlaybookInvalid
from reworker.fsm.domains import ByCommand
from reworker.fsm.parsing import parse
from reworker.fsm.plan import Plan, Role, compile_plan
from reworker.fsm.playbook import SequenceKind
from reworker.fsm.rules import Rules
from reworker.fsm.states import DeploymentStatus
from reworker.storage.contract import DeploymentRow, PlaybookRow

#: characters of an idempotency key that a person or program gives.
KEY_CHARACTERS = 255
#: how stored keys begin: those that were given, those that came with a token, those of job requests and those
#: of continued deployments.
GIVEN, ASKED, JOB, RESUMED = "key|", "ask|", "job|", "resume|"


class Origin(msgspec.Struct, frozen=True):
    """Where a deployment comes from.

    Args:
        actor: person or program.
        playbook_id: of the stored playbook; None when it was given as text.
        playbook_version: of it; None is not known, or none.
        is_unattended: nobody can be asked.
        idempotency_key: the same key never starts a second deployment; empty is none. It begins with what
            kind it is: see `GIVEN`.
        older_key: the same as it was stored before kinds were told apart.
        given_key: the key as somebody with a token gave it, with whom another request of the same key is an
            error; empty is none.
        request_digest: of a job message without a message id, or of a request with a `given_key`; empty is
            none.
        is_redelivered: the job message may have been handled before.
        source_ip: of the person or program, as the request says.
        reason: why it was started, in a person's words.
    """

    actor: str = ""
    playbook_id: str | None = None
    playbook_version: int | None = None
    is_unattended: bool = False
    idempotency_key: str = ""
    older_key: str = ""
    given_key: str = ""
    request_digest: str = ""
    is_redelivered: bool = False
    source_ip: str = ""
    reason: str = ""


class Terms(msgspec.Struct, frozen=True):
    """How a deployment is asked for by somebody with a token.

    Args:
        idempotency_key: of the token's owner: the same key and request never start a second deployment.
        request: what tells requests of one key apart, such as address and body.
        is_unattended: nobody can be asked; a doubt fails the deployment.
        reason: why, in a person's words.
        domains: by command; they hold before those of the playbook.
    """

    idempotency_key: str = ""
    request: bytes = b""
    is_unattended: bool = False
    reason: str = ""
    domains: ByCommand = {}


def asked_by(who: Principal, terms: Terms, playbook_id: str = "") -> Origin:
    """Return where a deployment comes from that somebody with a token asks for.

    Raises:
        ConfigError: the key is too long.
    """
    key = terms.idempotency_key
    _require_short(key)
    # people choose their keys without a look at those of others
    stored = hashlib.sha256(_bytes(who.name) + b"\0" + _bytes(key)).hexdigest()
    return Origin(
        actor=who.name,
        playbook_id=playbook_id or None,
        is_unattended=terms.is_unattended,
        idempotency_key=f"{ASKED}{stored}" if key else "",
        given_key=key,
        request_digest=hashlib.sha256(b"ask\0" + terms.request).hexdigest() if key else "",
        source_ip=who.source_ip,
        reason=terms.reason,
    )


def require_same(row: DeploymentRow, origin: Origin) -> None:
    """Let a request pass that is the one which has started this deployment.

    Raises:
        KeyReused: it is another one.
    """
    if row.request_digest != origin.request_digest:
        raise KeyReused(origin.given_key, row.id)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _require_short(key: str) -> None:
    if len(key) > KEY_CHARACTERS:
        reason = f"has {len(key)} characters, the limit is {KEY_CHARACTERS}"
        raise ConfigError(reason, key="idempotency_key")


def asked_for(actor: str, key: str, *, is_unattended: bool) -> Origin:
    """Return where a deployment comes from that a person or program asks for, with a key of theirs or none.

    Raises:
        ConfigError: the key is too long.
    """
    _require_short(key)
    return Origin(
        actor=actor,
        is_unattended=is_unattended,
        idempotency_key=f"{GIVEN}{key}" if key else "",
        # one that looks like a stored one would find what nobody started with it
        older_key="" if key.startswith((GIVEN, ASKED, JOB, RESUMED)) else key,
    )


class Draft(msgspec.Struct, frozen=True):
    """What is to be deployed, and what it was made from: see `SourceRow`."""

    plan: Plan
    text: str | None = None
    rules: bytes | None = None


def plan_of(
    text: str,
    dynamic: Mapping[str, Any],
    source: str,
    rules: Rules | None = None,
    *,
    before: Mapping[str, Any] | None = None,
    domains: ByCommand | None = None,
) -> Plan:
    """Return the plan of a playbook's text and what the operator adds, all of whose steps can be sent.

    Args:
        text: YAML or JSON.
        dynamic: values by name.
        source: name of the playbook for errors.
        rules: what the operator adds.
        before: values of an earlier deployment, which hold unless there are new ones.
        domains: by command; they hold before those of the playbook.

    Raises:
        PlaybookInvalid: the playbook is wrong, a value is missing or does not fit, or a step's message is
            too large.
    """
    playbook = parse(text, source=source)
    given = {**parameters.known(playbook, before or {}, rules), **dynamic}
    values = parameters.complete(playbook, given, rules, source=source)
    plan = compile_plan(playbook, values, rules=rules, domains=domains, source=source)
    _require_sendable(plan, source)
    return plan


def _require_sendable(plan: Plan, source: str) -> None:
    """Find out before the start, not at step 900, that a message is over the limit."""
    first = 0
    for number, sequence in enumerate(plan.sequences):
        longest = max(range(len(sequence.hosts)), key=lambda index: len(sequence.hosts[index]), default=0)
        for offset in range(len(sequence.steps)):
            index = first + longest * len(sequence.steps) + offset
            try:
                _encode_all(plan, index)
            except MessageError as error:
                path = _path(plan, number, offset)
                raise PlaybookInvalid(str(error), path=path, source=source) from error
        first += len(sequence.hosts) * len(sequence.steps)


def _encode_all(plan: Plan, index: int) -> None:
    """Make every message that may be sent of a step; raises as `step_body`."""
    for role in (Role.STEP, Role.VERIFY, Role.ROLLBACK):
        step_body(plan, plan.step(index, role))


def _path(plan: Plan, number: int, offset: int) -> str:
    """Return where a step stands in the playbook, or in the operator's rules."""
    kinds = [one.kind for one in plan.sequences]
    if kinds[number] is not SequenceKind.EXECUTION:
        return f"{plan.sequences[number].description}[{offset}]"
    return f"execution[{kinds[:number].count(SequenceKind.EXECUTION)}].steps[{offset}]"


def new_row(own_id: str, plan: Plan, origin: Origin, at: datetime, resumes: str = "") -> DeploymentRow:
    """Return the row of a deployment that nothing has happened to yet; `resumes` is what it continues."""
    return DeploymentRow(
        id=own_id,
        playbook_id=origin.playbook_id,
        group=plan.group,
        name=plan.name,
        status=DeploymentStatus.QUEUED,
        version=0,
        snapshot=b"{}",
        last_seq=0,
        last_hash="",
        step_count=plan.step_count,
        actor=origin.actor,
        created_at=at,
        updated_at=at,
        idempotency_key=origin.idempotency_key or None,
        request_digest=origin.request_digest or None,
        resumes=resumes or None,
        environment=plan.environment,
        playbook_version=origin.playbook_version,
    )


def digest_of(text: str) -> str:
    """Return what tells texts of playbooks apart."""
    return hashlib.sha256(_bytes(text)).hexdigest()


def new_playbook(own_id: str, version: int, text: str, actor: str, at: datetime) -> PlaybookRow:
    """Return the row of a playbook.

    Raises:
        PlaybookInvalid: the playbook is wrong.
    """
    playbook = parse(text, source="playbook")
    wrong = parameters.problems(playbook, source="playbook")
    if wrong:
        raise wrong[0]
    return PlaybookRow(
        id=own_id,
        version=version,
        group=playbook.group,
        name=playbook.name,
        digest=digest_of(text),
        text=text,
        actor=actor,
        created_at=at,
    )
