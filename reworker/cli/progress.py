"""How a deployment is shown while it runs: one greppable line per change, JSON lines, or a live picture."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Protocol, Self

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reworker.clock import iso
from reworker.core.service import AttemptView, EventView
from reworker.fsm.deployment import Deployment
from reworker.fsm.plan import Plan
from reworker.logs import escaped

#: hosts shown at a time in the live picture, so that its height stays fixed.
HOSTS_SHOWN = 8
BAR_WIDTH = 30

#: what an event means for the step it is about.
STEP_WORDS = {
    "DispatchConfirmed": "sent",
    "DispatchUnroutable": "unroutable",
    "DispatchUnknown": "unknown",
    "ReplyStarted": "started",
    "ReplyRunning": "running",
    "ReplyCompleted": "completed",
    "ReplyFailed": "failed",
    "ReplyUnknown": "unknown",
    "ReplyCancelled": "cancelled",
    "QueueTimedOut": "timed out: no worker took it",
    "RunTimedOut": "timed out: still running",
    "HeartbeatLost": "worker fell silent",
    "CancelTimedOut": "cancelled without an answer",
    "Decided": "decided",
}
DEPLOYMENT_WORDS = {
    "Submitted": "submitted",
    "PauseRequested": "pause requested",
    "ResumeRequested": "resume requested",
    "CancelRequested": "cancel requested",
}


class View(Protocol):
    """Something that shows a deployment as it goes on."""

    def __enter__(self) -> View:
        """Begin to show."""
        ...

    def __exit__(self, *_: object) -> None:
        """Show no more."""
        ...

    def update(
        self, deployment: Deployment, events: list[EventView], attempts: Mapping[int, AttemptView]
    ) -> None:
        """Show what is new.

        Args:
            deployment: its present snapshot.
            events: those not shown before, in order.
            attempts: by number, those that the events are about.
        """
        ...

    def note(self, text: str) -> None:
        """Tell the user something beside the changes."""
        ...


def view_for(output: str, plan: Plan) -> View:
    """Return the view that fits: JSON when asked for, a picture on a terminal, else lines."""
    if output == "json":
        return JsonView()
    return PictureView(plan) if sys.stdout.isatty() else LineView()


class StreamView:
    """What views that only print have in common."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def note(self, text: str) -> None:
        """Print it on stderr, apart from the stream of changes."""
        click.echo(text, err=True)


class JsonView(StreamView):
    """One JSON object per event: ``{"seq", "at", "event", "attempt"?, "host"?, "step"?, ...}``."""

    def update(
        self, deployment: Deployment, events: list[EventView], attempts: Mapping[int, AttemptView]
    ) -> None:
        """Print the new events."""
        for event in events:
            click.echo(json.dumps(event_object(event, attempts)))


class LineView(StreamView):
    """One line per change, for logs and pipes."""

    def update(
        self, deployment: Deployment, events: list[EventView], attempts: Mapping[int, AttemptView]
    ) -> None:
        """Print the new events."""
        for event in events:
            click.echo(event_line(event, attempts))


class PictureView:
    """A live picture of fixed height: a bar per sequence, and one per host of the sequence at work."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._last = ""
        self._live = Live(console=Console(), refresh_per_second=12, transient=False)

    def __enter__(self) -> PictureView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(
        self, deployment: Deployment, events: list[EventView], attempts: Mapping[int, AttemptView]
    ) -> None:
        """Draw the picture again."""
        if events:
            self._last = event_line(events[-1], attempts)
        self._live.update(picture(self._plan, deployment, self._last))

    def note(self, text: str) -> None:
        """Print it above the picture, which stays whole."""
        self._live.console.print(text, style="bold", highlight=False)


def picture(plan: Plan, deployment: Deployment, last_line: str) -> RenderableType:
    """Return the picture of a deployment; status is always text, never colour alone."""
    table = Table.grid(padding=(0, 1))
    start = 0
    for number, sequence in enumerate(plan.sequences, 1):
        size = len(sequence.hosts) * len(sequence.steps)
        done = min(max(deployment.position - start, 0), size)
        title = escaped(sequence.description or f"sequence {number}")
        table.add_row(Text(title, style="bold"), *_bar(done, size))
        if start <= deployment.position < start + size:
            _add_hosts(table, sequence.hosts, len(sequence.steps), done)
        start += size
    head = f"{escaped(plan.group)} / {escaped(plan.name)}  {deployment.id}  {deployment.status}"
    return Group(Text(head), table, Text(last_line, style="dim", overflow="ellipsis", no_wrap=True))


def _add_hosts(table: Table, hosts: tuple[str, ...], step_count: int, done: int) -> None:
    current = done // step_count
    first = max(0, min(current - HOSTS_SHOWN // 2, len(hosts) - HOSTS_SHOWN))
    for index in range(first, min(first + HOSTS_SHOWN, len(hosts))):
        on_host = min(max(done - index * step_count, 0), step_count)
        table.add_row(Text(f"  {hosts[index]}"), *_bar(on_host, step_count))


def _bar(done: int, size: int) -> tuple[ProgressBar, Text]:
    return ProgressBar(total=size, completed=done, width=BAR_WIDTH), Text(f"{done}/{size}")


def event_line(event: EventView, attempts: Mapping[int, AttemptView]) -> str:
    """Return one line, for example ``12:00:01.250  web1  service:Restart  started``."""
    data = event.data
    at = iso(event.at)[11:23]
    note = f"  (ignored: {event.ignored})" if event.ignored else ""
    reason = data.get("message") or data.get("reason") or ""
    attempt = attempts.get(data.get("attempt", 0))
    if attempt is None:
        word = DEPLOYMENT_WORDS.get(event.kind, event.kind)
        return escaped(f"{at}  {word}{_said(reason)}{note}")
    word = STEP_WORDS.get(event.kind, event.kind)
    if data.get("decision"):
        word = f"decided: {data['decision']}"
    percent = f" {data['percent']:.0f} %" if data.get("percent") is not None else ""
    return escaped(f"{at}  {attempt.row.host}  {attempt.row.step}  {word}{percent}{_said(reason)}{note}")


def event_object(event: EventView, attempts: Mapping[int, AttemptView]) -> dict[str, Any]:
    """Return an event for scripts; the keys of its data stand beside the common ones."""
    data = event.data
    attempt = attempts.get(data.get("attempt", 0))
    place = {"host": attempt.row.host, "step": attempt.row.step} if attempt else {}
    ignored = {"ignored": event.ignored} if event.ignored else {}
    return {"seq": event.seq, "at": iso(event.at), "event": event.kind, **place, **data, **ignored}


def _said(reason: str) -> str:
    return f": {reason}" if reason else ""
