"""What a worker pool says of its health and its figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from reworker.clock import Clock, SystemClock
from reworker.host.health import BusWatch, Report, bus_families
from reworker.host.metrics import HISTOGRAM, Family, Labels, Sample, counter, gauge, histogram_samples
from reworker.jobs.tally import BOUNDS_S
from reworker.pool.pool import WorkerPool
from reworker.topology.names import step_key

#: what a station counts beside jobs: key of `Station.counts`, name, text.
COUNTS = (
    ("dead_lettered", "reworker_dead_letters_total", "Messages sent to the dead letters."),
    ("turned_away", "reworker_senders_refused_total", "Messages of senders that a worker does not accept."),
    ("malformed", "reworker_messages_malformed_total", "Messages that could not be read."),
    (
        "output_dropped",
        "reworker_output_dropped_total",
        "Lines of output dropped: too many were on their way.",
    ),
    ("output_unrouted", "reworker_output_unrouted_total", "Lines of output that no queue took."),
    ("unroutable", "reworker_replies_unroutable_total", "Replies and notices that no queue took."),
    ("unconfirmed", "reworker_replies_unconfirmed_total", "Replies and notices never confirmed."),
)


class PoolProbe:
    """Asks a pool for its state; any thread.

    Args:
        pool: started or not.
        clock: measures for how long something is missing.
    """

    def __init__(self, pool: WorkerPool, clock: Clock | None = None) -> None:
        self._pool = pool
        self._worker = pool.settings.queue.removeprefix(step_key(""))
        self.name = f"worker {self._worker}"
        self._bus = BusWatch(self.name, clock or SystemClock())

    def __call__(self) -> Report:
        """Return the state of this moment."""
        pool, state = self._pool, str(self._pool.state)
        health = pool.bus.health()
        dead, unready = self._bus.judge(health)
        families = (*self._families(), *bus_families(self._worker, health))
        drain_s = pool.settings.drain_s
        return Report(self.name, state, (*self._ended_threads(state), *dead), unready, families, drain_s)

    def _ended_threads(self, state: str) -> Iterator[str]:
        """Yield what is wrong when a thread that should run does not."""
        if state in ("starting", "draining", "stopped"):
            return
        for instance in self._pool.instances:
            if not instance.thread.is_alive():
                yield f"the thread {instance.thread.name!r} of {self.name} has ended"

    def _families(self) -> Iterator[Family]:
        label = ("worker", self._worker)
        stations = [one.station for one in self._pool.instances]
        busy = sum(one.current is not None for one in stations)
        yield gauge("reworker_jobs_in_flight", "Jobs that run.", (label,), busy)
        yield gauge("reworker_instances", "Jobs that may run at one time.", (label,), len(stations))
        ended: Counter[Labels] = Counter()
        times: dict[str, tuple[list[int], float]] = {}
        for subcommand, status, counts, total_s in (end for one in stations for end in one.tally.ends()):
            ended[label, ("subcommand", subcommand), ("status", status)] += sum(counts)
            old_counts, old_s = times.get(subcommand, ([0] * len(counts), 0.0))
            times[subcommand] = ([a + b for a, b in zip(old_counts, counts, strict=True)], old_s + total_s)
        yield counter("reworker_jobs_total", "Jobs that have ended.", ended)
        yield _durations(label, times)
        own: Callable[[], Iterable[Family]] | None = getattr(
            self._pool.instances[0].worker, "own_families", None
        )
        if own is not None:  # of workers in another style
            yield from own()
        counted = self._pool.station.counts
        for key, name, text in COUNTS:
            yield counter(name, text, {(label,): counted.get(key, 0)})


def _durations(label: tuple[str, str], times: Mapping[str, tuple[list[int], float]]) -> Family:
    samples: list[Sample] = []
    for subcommand, (counts, total_s) in times.items():
        labels = (label, ("subcommand", subcommand))
        samples.extend(histogram_samples(labels, BOUNDS_S, counts, total_s))
    text = "For how long jobs ran, seconds."
    return Family("reworker_job_duration_seconds", HISTOGRAM, text, tuple(samples))
