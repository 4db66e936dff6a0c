"""Whose messages a worker takes, when it has a list of them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from reworker.bus.contract import Outgoing, Verdict
from reworker.jobs.returning import KEY_HEADER, TRIES_HEADER, copy_of
from reworker.jobs.senders import SenderGate
from reworker.testing import Harness
from reworker.testing.harness import FakeDelivery
from reworker.topology.names import DEAD_EXCHANGE
from reworker.topology.refusal import SENDER_HEADER
from tests.unit.worker.kit import IDEMPOTENT, LEVEL_2, StepWorker, step_body

CORE, OWN, STRANGER = "core", "own", "stranger"


class OwnBus:
    """A bus whose messages name its user."""

    user_id = OWN


class Entry:
    """A worker behind its gate; `let_in` is what came through."""

    def __init__(self) -> None:
        self.harness = Harness(StepWorker, accept_from=[CORE])
        self.let_in: list[FakeDelivery] = []
        self.gate = SenderGate(self.harness.station, OwnBus())
        self._take = self.gate.before(self.let_in.append)  # type: ignore[arg-type]  # it is given these only

    def came(self, delivery: FakeDelivery) -> bool:
        """Bring a delivery to the gate; tell whether it came through."""
        self._take(delivery)
        return delivery in self.let_in

    def step(self, user: str | None, headers: dict[str, Any] | None = None, **options: Any) -> FakeDelivery:
        """Return a step of a user."""
        table = {**IDEMPOTENT, **(headers or {})}
        return self.harness.delivery(step_body(), user_id=user, headers=table, **options)

    def copy(self, original: FakeDelivery) -> FakeDelivery:
        """Return the copy of a delivery that this worker sends to its own queue, as it comes from there."""
        return self.own(copy_of(original, original.queue, {TRIES_HEADER: 1}, accepted=(CORE,)))

    def own(self, sent: Outgoing) -> FakeDelivery:
        """Return what this worker has sent, as it comes back: with its user on it."""
        properties = msgspec.structs.replace(sent.properties, user_id=OWN)
        return self.harness.delivery_of(msgspec.structs.replace(sent, properties=properties))


@pytest.fixture
def entry() -> Entry:
    return Entry()


def test_step_is_taken_when_its_user_is_in_the_list(entry: Entry) -> None:
    assert entry.came(entry.step(CORE))
    assert entry.harness.bus.sent == []


@pytest.mark.parametrize(
    ("user", "words"),
    [
        (
            STRANGER,
            "not done: it is of the user 'stranger'; `accept_from` of worker.stepworker has core; if that",
        ),
        (
            None,
            "not done: it names no user; `accept_from` of worker.stepworker has core; set `stamp_user` where",
        ),
        (OWN, "not done: it is of the worker's own user, but no copy of what an accepted one sent;"),
    ],
)
def test_step_is_dead_lettered_when_its_user_is_another(entry: Entry, user: str | None, words: str) -> None:
    step = entry.step(user)
    assert not entry.came(step)
    answer, letter = entry.harness.bus.sent
    assert (answer.exchange, answer.routing_key) == ("", "re.replies")
    assert json.loads(answer.body)["status"] == "failed"
    assert words in json.loads(answer.body)["message"]
    assert letter.exchange == DEAD_EXCHANGE
    assert (letter.properties.headers or {})["x-reworker-reason"].startswith(words)
    assert step.verdict is Verdict.ACK
    counts = entry.harness.station.counts
    assert (counts["turned_away"], counts["dead_lettered"]) == (1, 1)


@pytest.mark.parametrize("address", [None, "log"])
def test_nobody_is_answered_when_nobody_waits(entry: Entry, address: str | None) -> None:
    assert not entry.came(entry.step(STRANGER, reply_to=address))
    assert [one.exchange for one in entry.harness.bus.sent] == [DEAD_EXCHANGE]


def test_real_step_runs_when_one_of_its_id_was_made_up_before(entry: Entry) -> None:
    assert not entry.came(entry.step(STRANGER))
    real = entry.step(CORE, {TRIES_HEADER: 1})  # whoever has this looks for an answer in the ledger
    assert entry.came(real)
    assert entry.harness.run(real).statuses == ["completed"]


def test_copy_is_taken_when_an_accepted_user_sent_what_it_copies(entry: Entry) -> None:
    copy = entry.copy(entry.step(CORE))
    assert entry.came(copy)
    assert entry.came(entry.copy(copy))


@pytest.mark.parametrize("user", [STRANGER, None])
def test_copy_is_dead_lettered_when_somebody_else_sent_what_it_copies(entry: Entry, user: str | None) -> None:
    copy = entry.copy(entry.step(user))
    assert SENDER_HEADER not in (copy.properties.headers or {})
    assert not entry.came(copy)


def test_header_proves_nothing_when_another_than_the_worker_wrote_it(entry: Entry) -> None:
    for user in (STRANGER, None):
        assert not entry.came(entry.step(user, {SENDER_HEADER: CORE, TRIES_HEADER: 1}))


def test_letter_is_no_copy_of_a_good_step_when_somebody_leads_it_back(entry: Entry) -> None:
    """Who may declare can bind `re` to the exchange of dead letters, which then come with our own user."""
    assert not entry.came(entry.step(STRANGER, {SENDER_HEADER: CORE, TRIES_HEADER: 1}))
    letter = entry.harness.bus.sent[-1]
    assert SENDER_HEADER not in (letter.properties.headers or {})
    assert not entry.came(entry.own(letter))


@pytest.mark.parametrize("value", [STRANGER, 1, None, ["core"], {"core": 1}])
def test_copy_is_dead_lettered_when_its_header_names_nobody_accepted(entry: Entry, value: Any) -> None:
    assert not entry.came(entry.step(OWN, {SENDER_HEADER: value, TRIES_HEADER: 1}))


@pytest.mark.parametrize("key", ["notify.irc", "output"])
def test_notification_is_taken_whoever_sent_it(entry: Entry, key: str) -> None:
    note = entry.step(STRANGER, routing_key=key)
    assert entry.came(note)
    assert entry.came(entry.copy(note))


@pytest.mark.parametrize(
    ("exchange", "key"), [("", "worker.stepworker"), ("", "notify.irc"), ("re", "worker.step")]
)
def test_step_is_dead_lettered_when_it_says_that_it_is_a_notification(
    entry: Entry, exchange: str, key: str
) -> None:
    step = entry.step(STRANGER, {KEY_HEADER: "notify.irc"}, routing_key=key)
    step.exchange = exchange
    assert not entry.came(step)


def test_copy_names_no_sender_when_the_worker_takes_everybodys_messages() -> None:
    harness = Harness(StepWorker)
    step = harness.delivery(step_body(), user_id=CORE, headers={**LEVEL_2, SENDER_HEADER: CORE})
    assert SENDER_HEADER not in (copy_of(step, step.queue).properties.headers or {})
