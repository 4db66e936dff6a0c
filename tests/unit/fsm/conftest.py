"""A deployment to drive by hand: plan, snapshot and the commands of the last event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reworker.fsm.commands import Command, DispatchStep
from reworker.fsm.deployment import Attempt, Deployment
from reworker.fsm.events import (
    AttemptEvent,
    DispatchConfirmed,
    Event,
    ReplyCompleted,
    ReplyStarted,
    Submitted,
)
from reworker.fsm.machine import reduce
from reworker.fsm.plan import Plan, compile_plan
from reworker.fsm.playbook import Playbook, Sequence, Step
from reworker.fsm.rules import PhaseNotice, Rules

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEPLOYMENT_ID = "0123456789ab0123456789ab"


class Driver:
    """Feeds events to one deployment, one second apart."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.deployment = Deployment(id=DEPLOYMENT_ID)
        self.events: list[Event] = []
        self.commands: tuple[Command, ...] = ()

    def feed(self, kind: type[Event], **fields: Any) -> tuple[Command, ...]:
        """Feed an event; an attempt event is about the newest attempt unless it says another."""
        if issubclass(kind, AttemptEvent):
            fields.setdefault("attempt", self.deployment.attempt_count)
        at = START + timedelta(seconds=len(self.events))
        return self.take(kind(at=at, **fields))

    def take(self, event: Event) -> tuple[Command, ...]:
        self.events.append(event)
        self.deployment, self.commands = reduce(self.plan, self.deployment, event)
        return self.commands

    def submit(self, **fields: Any) -> Driver:
        self.feed(Submitted, **fields)
        return self

    def start(self) -> Driver:
        """Submit, and bring the first attempt to `started`."""
        self.submit()
        self.feed(DispatchConfirmed)
        self.feed(ReplyStarted)
        return self

    def finish_step(self) -> None:
        self.feed(DispatchConfirmed)
        self.feed(ReplyStarted)
        self.feed(ReplyCompleted)

    def feed_on(self, host: str, kind: type[AttemptEvent], **fields: Any) -> tuple[Command, ...]:
        """Feed an event about the open attempt on this host."""
        (number,) = (
            one.number for one in self.deployment.attempts if self.plan.step(one.step_index).host == host
        )
        return self.feed(kind, attempt=number, **fields)

    @property
    def sent(self) -> list[str]:
        """What the last event dispatched, as ``key@host``."""
        steps = [self.plan.step(one.step_index, one.role) for one in self.all(DispatchStep)]
        return [f"{step.key}@{step.host}" for step in steps]

    def only(self, kind: type[Command]) -> Any:
        """Return the one command of this kind that the last event gave."""
        (found,) = self.all(kind)
        return found

    def all(self, kind: type[Command]) -> list[Any]:
        return [command for command in self.commands if isinstance(command, kind)]

    @property
    def attempt(self) -> Attempt:
        (found,) = self.deployment.attempts
        return found


def make_plan(
    *steps: Step, hosts: tuple[str, ...] = ("web1",), unattended: bool = False, **sequence: Any
) -> Plan:
    """Return a plan of one sequence; without steps it has one, `noop:Run`."""
    found = steps or (make_step(),)
    execution = (Sequence(hosts=hosts, steps=found, **sequence),)
    playbook = Playbook(group="g", name="n", execution=execution, is_unattended=unattended, takes_locks=False)
    return compile_plan(playbook, {})


def lay_out(
    *execution: Sequence,
    checks: tuple[Step, ...] = (),
    actions: tuple[Step, ...] = (),
    notice: PhaseNotice | None = None,
    **playbook: Any,
) -> Driver:
    """Return a deployment of several sequences, with an operator's rules."""
    found = Playbook(group="g", name="n", execution=execution, **{"takes_locks": False, **playbook})
    return Driver(compile_plan(found, {}, rules=Rules(checks=checks, actions=actions, notice=notice)))


def make_step(key: str = "noop:Run", **fields: Any) -> Step:
    command, _, subcommand = key.partition(":")
    return Step(key=key, command=command, subcommand=subcommand, **fields)


@pytest.fixture
def drive() -> Any:
    """Give ``drive(*steps, hosts=..., unattended=...) -> Driver``, not submitted yet."""
    return lambda *steps, **options: Driver(make_plan(*steps, **options))


@pytest.fixture
def drive_plan() -> Any:
    """Give ``drive_plan(*sequences, checks=..., actions=..., ...) -> Driver``, not submitted yet."""
    return lay_out


@pytest.fixture
def step() -> Any:
    """Give ``step("service:Restart", timeout_s=1.0, ...) -> Step``."""
    return make_step


@pytest.fixture
def plan() -> Any:
    """Give ``plan(*steps, hosts=..., unattended=...) -> Plan``."""
    return make_plan
