"""Spans of OpenTelemetry around steps, continued from the trace that a step message names.

Without the library, or without a tracer provider set up by whoever runs the process, there is no tracer, and
a step costs nothing more. Source: W3C Trace Context; OpenTelemetry's conventions for messaging.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

#: the header of messages, and its form: version, trace, span and flags.
TRACEPARENT = "traceparent"
_FORM = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
#: statuses of a job that its span shows as an error.
ERRORS = ("failed", "unknown")


def valid_traceparent(value: Any) -> str:
    """Return a trace context as it came, or nothing when it is none: a reply must not echo anything else."""
    return value if isinstance(value, str) and _FORM.fullmatch(value) else ""


class StepSpan:
    """The span of one step while it runs.

    Args:
        api: the module `opentelemetry.trace`.
        span: the library's.
        traceparent: names it; for messages that are sent meanwhile.
    """

    def __init__(self, api: Any, span: Any, traceparent: str) -> None:
        self._api, self._span = api, span
        self.traceparent = traceparent

    def ended(self, status: str, words: str = "") -> None:
        """Note how the step ended."""
        self._span.set_attribute("reworker.status", status)
        if status in ERRORS:
            self._span.set_status(self._api.Status(self._api.StatusCode.ERROR, words or status))


class StepTracer:
    """Makes a span for each step, on the thread that performs it, so that user code finds it there.

    Args:
        provider: makes spans; the one that the process has set up.
    """

    def __init__(self, provider: Any) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        from reworker import __version__

        self._api, self._context = trace, TraceContextTextMapPropagator()
        self._tracer = provider.get_tracer("reworker", __version__)

    @contextmanager
    def step(
        self, queue: str, carrier: Mapping[str, Any], attributes: Mapping[str, str]
    ) -> Iterator[StepSpan]:
        """Give a span for the block, a child of the one that the message names.

        Args:
            queue: that the message came from.
            carrier: headers of the message; ``traceparent`` and ``tracestate`` are used.
            attributes: of the span, beside those that every one has.
        """
        texts = {name: value for name, value in carrier.items() if isinstance(value, str)}
        fixed = {
            "messaging.system": "rabbitmq",
            "messaging.operation.type": "process",
            "messaging.destination.name": queue,
        }
        with self._tracer.start_as_current_span(
            f"process {queue}",
            context=self._context.extract(texts),
            kind=self._api.SpanKind.CONSUMER,
            attributes={**fixed, **attributes},
        ) as span:
            made: dict[str, str] = {}
            self._context.inject(made)
            yield StepSpan(self._api, span, made.get(TRACEPARENT, ""))


def step_tracer() -> StepTracer | None:
    """Return what makes spans in this process, or None when nobody would see them."""
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    provider = trace.get_tracer_provider()
    is_set_up = not isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider)
    return StepTracer(provider) if is_set_up else None
