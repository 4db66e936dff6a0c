"""Spans of steps, seen by the library's own exporter in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from reworker.errors import JobFailed
from reworker.messages import StepHeaders, headers_of_step
from reworker.testing import Harness
from reworker.tracing import StepTracer, step_tracer, valid_traceparent
from reworker.worker import Job, Worker, step
from tests.unit.worker.kit import step_body

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
HEADERS = headers_of_step(StepHeaders(traceparent=PARENT))


class TracedWorker(Worker):
    """Makes a span of its own in its step."""

    error: Exception | None = None

    @step("Do")
    def do(self, job: Job) -> str:
        with trace.get_tracer("user").start_as_current_span("inner"):
            if self.error is not None:
                raise self.error
            return format(trace.get_current_span().get_span_context().trace_id, "032x")

    @step("Async")
    async def later(self, job: Job) -> str:
        return format(trace.get_current_span().get_span_context().trace_id, "032x")


class Traced:
    """A harness whose spans are kept."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.provider = provider
        self.harness = Harness(TracedWorker)
        self.harness.station.tracer = StepTracer(provider)

    def run(self, subcommand: str = "Do", headers: dict[str, Any] = HEADERS) -> Any:
        return self.harness.run(self.harness.delivery(step_body(subcommand), headers=headers))

    @property
    def span(self) -> ReadableSpan:
        (found,) = [one for one in self.exporter.get_finished_spans() if one.name.startswith("process ")]
        return found


@pytest.fixture
def traced() -> Iterator[Traced]:
    made = Traced()
    yield made
    made.provider.shutdown()


def test_span_continues_the_trace_of_the_message(traced: Traced) -> None:
    assert traced.run().data == TRACE
    assert traced.span.parent is not None
    assert format(traced.span.parent.span_id, "016x") == SPAN
    assert traced.span.kind is trace.SpanKind.CONSUMER
    assert traced.span.attributes is not None
    assert dict(traced.span.attributes) == {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": "process",
        "messaging.destination.name": "worker.tracedworker",
        "messaging.message.conversation_id": "0123456789abcdef01234567.1",
        "reworker.subcommand": "Do",
        "reworker.status": "completed",
    }


def test_replies_carry_the_trace_on(traced: Traced) -> None:
    sent = traced.run().sent
    own = format(traced.span.context.span_id, "016x")
    replies = [one for one in sent if one.routing_key == "re.replies"]
    assert len(replies) == 2
    assert {one.properties.headers["traceparent"] for one in replies} == {f"00-{TRACE}-{own}-01"}


def test_trace_is_there_on_the_thread_that_performs(traced: Traced) -> None:
    """The delivery comes on another thread; nothing is carried over but the message."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(traced.run().data))
    thread.start()
    thread.join()
    assert found == [TRACE]


def test_async_step_is_in_the_trace(traced: Traced) -> None:
    assert traced.run("Async").data == TRACE


def test_message_without_a_trace_begins_one(traced: Traced) -> None:
    assert traced.run(headers=headers_of_step(StepHeaders())).data != TRACE
    assert traced.span.parent is None


@pytest.mark.parametrize("value", ["nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 100_000, ""])
def test_trace_that_is_none_is_ignored(traced: Traced, value: str) -> None:
    assert traced.run(headers={**HEADERS, "traceparent": value}).statuses == ["started", "completed"]
    assert traced.span.parent is None


def test_failed_step_is_an_error_in_its_span(traced: Traced) -> None:
    traced.harness.worker.error = JobFailed("no")  # type: ignore[attr-defined]  # of TracedWorker
    assert traced.run().statuses == ["started", "failed"]
    assert traced.span.status.status_code is trace.StatusCode.ERROR
    assert (traced.span.attributes or {})["reworker.status"] == "failed"


def test_step_that_raises_anything_leaves_a_span(traced: Traced) -> None:
    traced.harness.worker.error = ZeroDivisionError("x")  # type: ignore[attr-defined]  # of TracedWorker
    assert traced.run().statuses == ["started", "failed"]
    assert traced.span.end_time is not None


def test_replies_pass_the_trace_on_when_nobody_traces() -> None:
    harness = Harness(TracedWorker)
    sent = harness.run(harness.delivery(step_body(), headers=HEADERS)).sent
    replies = [one for one in sent if one.routing_key == "re.replies"]
    assert {one.properties.headers["traceparent"] for one in replies} == {PARENT}


@pytest.mark.parametrize("value", [None, 1, "", "00-x", PARENT + "\n", PARENT.upper(), "é" * 55])
def test_reply_does_not_repeat_what_is_no_trace(value: Any) -> None:
    assert valid_traceparent(value) == ""


def test_nobody_traces_when_no_provider_was_set_up() -> None:
    assert step_tracer() is None
