"""Dead letters: to look at, send back and throw away; one, or many with one request."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from reworker.core.letter_box import Return
from reworker.core.letter_desk import MANY_COUNT, SHOWN_BYTES, Fate
from reworker.core.letter_pages import letters_page
from reworker.core.principal import Scope
from reworker.errors import LetterNotFound, LetterStays
from reworker.topology.letters import Filter, Letter
from reworker.web.api_v1.bus import QUEUE_CHARACTERS, Reason, desk_of
from reworker.web.api_v1.deployments import Time
from reworker.web.bodies import json_of
from reworker.web.desk import REASON_CHARACTERS
from reworker.web.operations import Call, Operation

#: dead letters of a page, when nobody says how many and at most.
PAGE_COUNT, MOST_COUNT = 50, 1000
#: characters of the id of a letter.
ID_CHARACTERS = 100


Ids = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=ID_CHARACTERS)], ...],
    Meta(min_length=1, max_length=MANY_COUNT),
]


class LetterQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which dead letters, and how many.

    Args:
        queue: they were refused from.
        reason: text that their reason contains, in any case.
        before: they were refused before.
        after: they were refused after.
        cursor: `next` of the page before.
    """

    queue: Annotated[str, Meta(max_length=QUEUE_CHARACTERS)] = ""
    reason: Annotated[str, Meta(max_length=REASON_CHARACTERS)] = ""
    before: Time | None = None
    after: Time | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_COUNT)] = PAGE_COUNT
    cursor: Annotated[str, Meta(max_length=60)] = ""


class Letters(msgspec.Struct, frozen=True):
    """Dead letters, the oldest first.

    Args:
        items: of this page.
        next: cursor of the next page; null at the end.
        looked_at: letters that were looked at.
        ready: letters that are there.
    """

    items: list[Letter]
    next: str | None
    looked_at: int
    ready: int


class BodyQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much of the body.

    Args:
        body_bytes: what is longer is cut.
    """

    body_bytes: Annotated[int, Meta(ge=1, le=SHOWN_BYTES)] = SHOWN_BYTES


class FullLetter(msgspec.Struct, frozen=True):
    """A dead letter with what it says.

    Args:
        letter: what it says about itself.
        properties: its AMQP properties, headers too.
        body: as text; a long one is cut.
        is_editable: it can be sent back with another body.
    """

    letter: Letter
    properties: dict[str, Any]
    body: str
    is_editable: bool


class Redrive(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a dead letter is to be sent back.

    Args:
        body: JSON in place of its own, as text; null leaves that.
        queue: straight there; empty is where it came from.
        force: send back a step, too, though its core has its answer.
    """

    reason: Reason
    body: str | None = None
    queue: Annotated[str, Meta(max_length=QUEUE_CHARACTERS)] = ""
    force: bool = False


class Dropping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Why a dead letter is thrown away."""

    reason: Reason


class RedriveMany(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Dead letters that are to be sent back; see `Redrive`.

    Args:
        ids: of the letters, each once.
    """

    ids: Ids
    reason: Reason
    queue: Annotated[str, Meta(max_length=QUEUE_CHARACTERS)] = ""
    force: bool = False


class DropMany(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Dead letters that are to be thrown away.

    Args:
        ids: of the letters, each once.
    """

    ids: Ids
    reason: Reason


class LetterResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one letter.

    Args:
        id: of it, before anything was done to others like it.
        done: it is not there any more.
        needs: what it would take: `force`, `queue`, or nothing that could be given.
        detail: why it was not done; empty when it was.
    """

    id: str
    done: bool
    needs: Literal["", "force", "queue"] = ""
    detail: str = ""


class LetterResults(msgspec.Struct, frozen=True):
    """What became of each.

    Args:
        items: in the order of the request; without those that there was no time for: ask for them again.
        done: how many were done.
    """

    items: list[LetterResult]
    done: int


def _letters(call: Call) -> Letters:
    query: LetterQuery = call.query
    found = desk_of(call).letters(call.who)
    wanted = Filter(query.queue, query.reason, query.before, query.after)
    rows, after = letters_page(found.letters, wanted, limit=query.limit, cursor=query.cursor)
    return Letters(rows, after or None, len(found.letters), found.ready)


def _letter(call: Call) -> FullLetter:
    found = desk_of(call).letter(call.who, call.path["letter_id"], call.query.body_bytes)
    return FullLetter(found.letter, found.properties, found.body, found.is_editable)


def _redrive(call: Call) -> None:
    body: Redrive = call.body
    how = Return(call.site.clock.now(), body.queue, body.force, checked_body(body.body))
    desk_of(call).redrive(call.who, call.path["letter_id"], body.reason, how)


def checked_body(text: str | None) -> bytes | None:
    """Return the body that a letter is to be sent back with.

    Raises:
        HttpProblem: 400 it is no JSON, or such that readers could read it in two ways.
    """
    if text is None:
        return None
    raw = text.encode("utf-8")
    json_of(raw)
    return raw


def _drop(call: Call) -> None:
    desk_of(call).drop(call.who, call.path["letter_id"], call.query.reason)


def _redrive_many(call: Call) -> LetterResults:
    body: RedriveMany = call.body
    how = Return(call.site.clock.now(), body.queue, body.force)
    return _results(desk_of(call).redrive_many(call.who, body.ids, body.reason, how))


def _drop_many(call: Call) -> LetterResults:
    body: DropMany = call.body
    return _results(desk_of(call).drop_many(call.who, body.ids, body.reason))


def _results(fates: dict[str, Fate]) -> LetterResults:
    items = [_result(letter_id, fate) for letter_id, fate in fates.items()]
    return LetterResults(items, sum(one.done for one in items))


def _result(letter_id: str, fate: Fate) -> LetterResult:
    if fate is None:
        return LetterResult(id=letter_id, done=True)
    needs: Any = fate.needs if isinstance(fate, LetterStays) else ""
    gone = "it is not there any more"
    detail = gone if isinstance(fate, LetterNotFound) else str(fate)
    return LetterResult(id=letter_id, done=False, needs=needs, detail=detail)


_BROKER = (503,)
_LETTER = (404, *_BROKER)
_SEEN = "Needs a token without limits: a dead letter may be of any group."
_EACH = f"Each has a result of its own, and an entry in the audit; at most {MANY_COUNT}."

OPERATIONS = (
    Operation(
        method="POST",
        path="/dead-letters/redrive",
        do=_redrive_many,
        scope=Scope.ADMIN,
        summary="Send many dead letters back to where they came from",
        description=_EACH,
        tag="dead_letter",
        body=RedriveMany,
        answer=LetterResults,
        errors=_BROKER,
    ),
    Operation(
        method="POST",
        path="/dead-letters/drop",
        do=_drop_many,
        scope=Scope.ADMIN,
        summary="Throw many dead letters away",
        description=_EACH,
        tag="dead_letter",
        body=DropMany,
        answer=LetterResults,
        errors=_BROKER,
    ),
    Operation(
        method="GET",
        path="/dead-letters",
        do=_letters,
        scope=Scope.READ,
        summary="List dead letters",
        description=_SEEN,
        tag="dead_letter",
        query=LetterQuery,
        answer=Letters,
        errors=_BROKER,
    ),
    Operation(
        method="GET",
        path="/dead-letters/{letter_id}",
        do=_letter,
        scope=Scope.READ,
        summary="Get a dead letter with its properties and body",
        description=_SEEN,
        tag="dead_letter",
        query=BodyQuery,
        answer=FullLetter,
        errors=_LETTER,
    ),
    Operation(
        method="POST",
        path="/dead-letters/{letter_id}/redrive",
        do=_redrive,
        scope=Scope.ADMIN,
        summary="Send a dead letter back to where it came from",
        tag="dead_letter",
        body=Redrive,
        status=204,
        errors=(409, *_LETTER),
    ),
    Operation(
        method="DELETE",
        path="/dead-letters/{letter_id}",
        do=_drop,
        scope=Scope.ADMIN,
        summary="Throw a dead letter away",
        tag="dead_letter",
        query=Dropping,
        status=204,
        errors=_LETTER,
    ),
)
