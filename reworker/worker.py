"""The worker library: subclass `Worker`, override `process()` or mark methods `@step`, call `runner()`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Self

from reworker.bus.contract import Outgoing, Properties, Verdict
from reworker.classic import ClassicHooks, JobChannel, Names
from reworker.config import MqSettings, load_mapping, mq_settings, place_in
from reworker.jobs.attempt import Attempt
from reworker.jobs.commands import CommandResult
from reworker.jobs.dispatch import run_step
from reworker.jobs.job import Job
from reworker.jobs.own_settings import T, own_settings, secret_of, tls_context
from reworker.jobs.prints import prints_to
from reworker.jobs.retry import Retry
from reworker.jobs.settings import WorkerSettings, worker_settings
from reworker.jobs.sources import constructor_properties, layers_of, slips_in, strange_variables
from reworker.jobs.station import Station
from reworker.jobs.steps import StepMethod, schema_of, step, step_for, steps_of
from reworker.logs import escaped
from reworker.messages import Notification, encode
from reworker.notify import notification_of, notifications
from reworker.output import Output
from reworker.plugin_path import join_plugin_folders
from reworker.pool.pool import WorkerPool, open_bus
from reworker.runner import runner

if TYPE_CHECKING:
    from reworker.jobs.http_call import HttpAnswer, checked_url, http_call, is_url_below

__all__ = [
    "CommandResult",
    "HttpAnswer",
    "Job",
    "Notification",
    "Output",
    "Retry",
    "Worker",
    "checked_url",
    "escaped",
    "http_call",
    "is_url_below",
    "notification_of",
    "runner",
    "secret_of",
    "step",
    "tls_context",
]

join_plugin_folders()


def __getattr__(name: str) -> Any:
    """Load when it is first used what half the time of an import would go to.

    Most workers speak no HTTP. pika is needed for a connection, and test-suites of 2014 find and replace it
    here.
    """
    if name == "pika":
        return import_module("pika")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("reworker.jobs.http_call"), name)


class Worker(ClassicHooks):
    """Performs the steps of one kind that arrive in its queue.

    Duties: consume the queue, run one step at a time, report each to its end, come back after losses.
    Threads: one object performs one message at a time, on its instance's thread; `ack`, `reject`, `send` and
    `notify` may be called from any thread that the running job has started.
    End of life: `run_forever` returns after SIGTERM, SIGINT or `stop`.

    Args:
        mq_config: message bus: ``{"server", "vhost", "user", "password", "port"?, "ssl"?}``, a URL or a file.
        config_file: JSON or YAML file with the worker's own settings; they are in `_config`.
        logger: used instead of the worker's own.
        kwargs: properties of a worker, see docs/configuration.md; unknown ones get a warning.

    Raises:
        ConfigError: a setting is wrong.
    """

    #: names of dynamic values the worker needs; named in the reply when one is missing.
    dynamic: Sequence[str] = ()
    #: False for a worker that never answers, whatever the routing key.
    reports_status: bool = True
    #: True for a worker that begins a step only when the broker has its `started`: so the core knows of a
    #: step that comes back without having begun, and sends it again. Costs each step the time of a confirm.
    confirms_start: bool = False
    #: keys the queue is bound with; empty is ``worker.<command>``.
    routing_keys: ClassVar[tuple[str, ...]] = ()
    #: for a worker of many queues, each named like the routing key of its messages: the key that matches all
    #: of them, for example ``worker.code.#``. It has no queue of its own then. Empty is one queue.
    queues_key: ClassVar[str] = ""
    #: lowest level of output; empty is DEBUG for classic workers, as in 2014, and INFO for steps.
    output_level: ClassVar[str] = ""

    _made_with: tuple[tuple[Any, ...], dict[str, Any]]
    _read_mq: Callable[[], MqSettings] | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Keep what the object is made with: a fresh one takes its place when settings are read again."""
        made = super().__new__(cls)
        made._made_with = (args, kwargs)
        return made

    def __init__(
        self,
        mq_config: Mapping[str, Any] | str | MqSettings,
        config_file: str | None = None,
        logger: logging.Logger | None = None,
        **kwargs: Any,
    ) -> None:
        name = type(self).__name__
        self.app_logger = logger or _plugin_logger(name)
        self._mq_config = mq_config
        self._config: dict[str, Any] = load_mapping(config_file) if config_file else {}
        self._config_path = config_file or "configuration"
        self._steps: dict[str, StepMethod] = steps_of(type(self))
        known, unknown = constructor_properties(kwargs)
        if unknown:
            self.app_logger.warn("unknown arguments are ignored: %s", ", ".join(unknown))  # noqa: G010  2014 suites count it
        self._settings = self._read_settings(known, self._config_path)
        self._queue, self._output_level = self._settings.queue, self._settings.output_level
        self._station: Station | None = None
        self._attempt: Attempt | None = None
        self._pool: WorkerPool | None = None
        self._is_stopping = False
        if self._is_driven():
            self._open_driven()

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Return the contract of this worker, see `jobs.steps.schema_of`."""
        return schema_of(cls)

    def own_settings(self, kind: type[T]) -> T:
        """Return the worker's own settings, checked, as a msgspec struct: call it in the constructor.

        Raises:
            ConfigError: see `jobs.own_settings`.
        """
        return own_settings(kind, self._config, self._config_path)

    def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> Any:
        """Perform one message; classic workers override this, others have methods marked `@step`.

        Args:
            channel: for plugins that use it; `ack` and `send` do the same.
            basic_deliver: for `ack` and `reject`.
            properties: with ``correlation_id`` and ``reply_to``.
            body: the decoded message: ``{"group", "parameters", "dynamic", "notify"}``.
            output: an `Output`.

        Raises:
            NotImplementedError: this class has neither.
        """
        if not self._steps or self._attempt is None:
            raise NotImplementedError(
                f"{type(self).__name__} has neither process() nor a method marked @step"
            )
        run_step(self, self._steps, self._attempt, output)

    def problems_in(self, subcommand: str, values: Mapping[str, Any], hosts: Sequence[str]) -> Iterable[str]:
        """Say what is wrong with a step beyond the types of its parameters; steps override it.

        It is asked before `started` is sent: with a problem, the step fails and has not begun.

        Args:
            subcommand: of the step.
            values: its parameters, checked against the type hints of its method.
            hosts: to work on.
        """
        return ()

    def known_queues(self) -> Iterable[str]:
        """Name queues that may have messages of which nobody has heard; workers of many queues override it.

        It is asked at the start and now and then, on a thread of its own, while a job may run on this object.
        An error is logged, and it is asked again.
        """
        return ()

    def close(self) -> None:
        """Let go of what this object holds; override it for connections and the like. Safe twice.

        It is called when an object with fresh settings has taken this one's place.
        """

    def ack(self, basic_deliver: Any) -> None:
        """Accept the message; with late acknowledgement it is kept safe until the job has ended."""
        self._decide(basic_deliver, Verdict.ACK)

    def reject(self, basic_deliver: Any, requeue: bool = False) -> None:
        """Refuse the message: to the dead letters, or with `requeue` back to the queue."""
        self._decide(basic_deliver, Verdict.REQUEUE if requeue else Verdict.DEAD_LETTER)

    def send(
        self, topic: Any, corr_id: Any, struct: Any, exchange: str = "re", reply_to: str = "log"
    ) -> None:
        """Publish a JSON object.

        Args:
            topic: routing key; the step's ``reply_to``, with ``exchange=""``, for a reply.
            corr_id: correlation id of the step.
            struct: for example ``{"status": "completed", "data": any}``.
            exchange: empty is the default exchange.
            reply_to: queue for answers.

        Raises:
            MessageError: JSON cannot carry it, or it is too large.
        """
        attempt = self._attempt
        if self._station is None:
            self._send_driven(topic, corr_id, struct, exchange, reply_to)
        elif attempt is not None and str(corr_id) == str(attempt.correlation_id):
            attempt.send(topic, corr_id, struct, exchange, reply_to)
        else:
            self._send_stray(topic, corr_id, struct, exchange, reply_to)

    def notify(
        self,
        slug: str,
        message: str,
        phase: str,
        corr_id: Any = None,
        target: Any = None,
        exchange: str = "re",
    ) -> None:
        """Tell people, by the transports that the step names for this phase.

        Args:
            slug: short text, cut to 80 characters.
            message: the text.
            phase: started, completed or failed.
            corr_id: correlation id of the step.
            target: instead of the step's targets.
            exchange: where notification workers listen.
        """
        table = self._notify_table if self._attempt is None else self._attempt.body.get("notify")
        for key, body in notifications(table, phase, slug, message, target):
            self.send(key, corr_id, body, exchange)
            self.app_logger.info("Sent notification to %s: %s", key, body["slug"])

    def run_forever(self) -> None:
        """Consume until told to stop; returns after a clean stop.

        Raises:
            ConfigError: the message bus's settings are wrong.
            CannotConnect: no broker answers within ``connect_timeout_s``.
            TopologyMismatch: the queue exists with other arguments.
            SystemExit: 75, the process wants to be replaced: ``max_jobs`` or ``max_rss_mib`` is reached.
        """
        if self._is_driven():
            self._connection.ioloop.start()
            return
        if self._pool is None:
            for text in strange_variables(os.environ):
                self.app_logger.warning(text)
            bus = open_bus(self._mq_settings(), self._queue, self._settings.suffix)
            self._pool = WorkerPool(bus, [self], read_mq=self._mq_settings)
        if self._is_stopping:
            self._pool.request_stop()
        self._pool.run()
        if self._pool.exit_code:
            raise SystemExit(self._pool.exit_code)

    def stop(self) -> None:
        """Make `run_forever` drain and return, also when it is called later; any thread, returns at once."""
        self._is_stopping = True
        if self._pool is not None:
            self._pool.request_stop()

    def _mq_settings(self) -> MqSettings:
        if self._read_mq is not None:
            return self._read_mq()
        config = self._mq_config
        return config if isinstance(config, MqSettings) else mq_settings(config, os.environ)

    def _read_settings(self, constructor: Mapping[str, Any], file_name: str) -> WorkerSettings:
        name = type(self).__name__
        file = place_in(file_name), self._config
        for slip in slips_in(file):
            self.app_logger.warning(slip)
        layers = layers_of(name, constructor, file, os.environ)
        self._layers = layers
        level = self.output_level or ("INFO" if self._steps else "DEBUG")
        return worker_settings(
            name,
            layers,
            routing_keys=self.routing_keys,
            queues_key=self.queues_key,
            output_level=level,
        )

    def _names(self) -> Names:
        return Names(sys.modules[__name__].pika, Output)  # by the module: a suite may have replaced it

    def _perform_attempt(self, attempt: Attempt, output: Output) -> None:
        delivery = attempt.delivery
        self._attempt = attempt
        try:
            if not self._settings.capture_stdout:
                self.process(self._channel, delivery, delivery.properties, attempt.body, output)
            else:
                with prints_to(output):
                    self.process(self._channel, delivery, delivery.properties, attempt.body, output)
        finally:
            self._attempt = None

    def _is_idempotent_step(self, subcommand: Any) -> bool:
        found = step_for(self._steps, subcommand)
        return found is not None and found.options.is_idempotent

    def _join(self, station: Station) -> None:
        """From here on, this worker works at a station, on a thread of its own."""
        self._station = station
        self._channel = JobChannel(self)

    def _made_again(self) -> Self:
        """Return a fresh object with the settings as they are now; it takes over with `_take_over_from`."""
        args, kwargs = self._made_with
        return type(self)(*args, **kwargs)

    def _take_over_from(self, old: Self, station: Station) -> None:
        self._pool, self._is_stopping, self._read_mq = old._pool, old._is_stopping, old._read_mq
        self._join(station)

    def _decide(self, basic_deliver: Any, verdict: Verdict) -> None:
        attempt, tag = self._attempt, getattr(basic_deliver, "delivery_tag", basic_deliver)
        if self._station is None:
            self._decide_driven(tag, verdict)
        elif attempt is not None and tag == attempt.delivery.delivery_tag:
            attempt.decide(verdict)
        else:
            self.app_logger.warning("ack or reject of delivery %s came after its job had ended", tag)

    def _decide_driven(self, tag: Any, verdict: Verdict) -> None:
        if verdict is Verdict.ACK:
            self._open_channel().basic_ack(tag)
        else:
            self._open_channel().basic_reject(tag, requeue=verdict is Verdict.REQUEUE)

    def _send_stray(self, topic: Any, corr_id: Any, struct: Any, exchange: str, reply_to: str) -> None:
        """Publish for a thread that has outlived its job."""
        assert self._station is not None
        self.app_logger.warning("%s: a message to %s was sent outside of its job", corr_id, topic)
        properties = Properties(
            app_id=self._station.app_id,
            correlation_id=None if corr_id is None else str(corr_id),
            reply_to=reply_to,
            content_type="application/json",
            delivery_mode=2,
        )
        self._station.bus.publish(Outgoing(exchange, str(topic), encode(struct), properties))


def _plugin_logger(name: str) -> logging.Logger:
    """Return the logger of a worker class; its `warn`, which most plugins call, is no deprecated alias."""
    logger = logging.getLogger(name)
    logger.warn = logger.warning  # type: ignore[method-assign]  # plugins of 2014 call warn; it must not warn
    return logger
