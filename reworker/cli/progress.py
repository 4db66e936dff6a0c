"""How a deployment is shown while it runs: one greppable line per change, JSON lines, or a live picture."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Protocol, Self

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reworker.cli.events import event_line, event_object
from reworker.core.event_words import step_name
from reworker.core.service import AttemptView, EventView
from reworker.fsm.deployment import Deployment
from reworker.fsm.plan import Plan, Role
from reworker.logs import escaped

#: hosts, and sequences, shown at a time in the live picture, so that its height stays fixed.
HOSTS_SHOWN, SEQUENCES_SHOWN = 8, 8
BAR_WIDTH = 30


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
        self._live.console.print(text, style="bold", highlight=False, markup=False)


def picture(plan: Plan, deployment: Deployment, last_line: str) -> RenderableType:
    """Return the picture of a deployment; status is always text, never colour alone."""
    done, size = deployment.completed_count, plan.step_count
    head = (
        f"{escaped(plan.group)} / {escaped(plan.name)}  {deployment.id}  {deployment.status}  {done}/{size}"
    )
    reason = "" if deployment.status.is_terminal else escaped(deployment.reason)
    table = Table.grid(padding=(0, 1))
    for number in _shown_sequences(plan, deployment):
        sequence, first = plan.sequences[number], plan.first_index(number)
        title = escaped(sequence.description or f"sequence {number + 1}")
        size = len(sequence.hosts) * len(sequence.steps)
        passed = _passed(deployment, first, first + size)
        table.add_row(Text(title, style="bold"), *_bar(passed, size), _tally(plan, deployment, number))
    if not deployment.status.is_terminal:
        _add_hosts(table, plan, deployment)
    return Group(_line(head), _line(reason, "bold"), table, _line(last_line, "dim"))


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, overflow="ellipsis", no_wrap=True)


def _shown_sequences(plan: Plan, deployment: Deployment) -> range:
    """Return as many sequences as there is room for, those at work among them."""
    count = len(plan.sequences)
    busy = min((one.index for one in deployment.sequences), default=0)
    if deployment.status.is_terminal:
        busy = count
    first = max(0, min(busy - 1, count - SEQUENCES_SHOWN))
    return range(first, min(first + SEQUENCES_SHOWN, count))


def _passed(deployment: Deployment, start: int, end: int) -> int:
    """Return how many of these steps are done, or are not to be done."""
    pieces = (*deployment.completed, *deployment.left_out)
    return sum(max(0, min(end, above) - max(start, below)) for below, above in pieces)


def _tally(plan: Plan, deployment: Deployment, number: int) -> Text:
    state = next((one for one in deployment.sequences if one.index == number), None)
    if state is None or not state.failed_host_count:
        return Text("")
    return Text(f"{state.failed_host_count} of {len(plan.sequences[number].hosts)} hosts failed")


def _add_hosts(table: Table, plan: Plan, deployment: Deployment) -> None:
    """Add a row for each host at work, as far as there is room, and empty ones for those to come."""
    attempts = {attempt.step_index: attempt for attempt in deployment.attempts}
    row_count = min(HOSTS_SHOWN, sum(len(one.hosts) for one in plan.sequences))
    shown = sorted(deployment.tracks, key=lambda track: track.index not in attempts)[:row_count]
    for track in sorted(shown, key=lambda one: one.index):
        number, _, offset = plan.place(track.index)
        attempt, size = attempts.get(track.index), len(plan.sequences[number].steps)
        step = plan.step(track.index, attempt.role if attempt else Role.STEP)
        status = attempt.status if attempt else "to do"
        what = f"{step_name(step.key, attempt.role if attempt else Role.STEP)}  {status}"
        table.add_row(Text(f"  {escaped(step.host)}"), *_bar(offset, size), _line(escaped(what)))
    for _ in range(row_count - len(shown)):
        table.add_row("")


def _bar(done: int, size: int) -> tuple[ProgressBar, Text]:
    return ProgressBar(total=size, completed=done, width=BAR_WIDTH), Text(f"{done}/{size}")
