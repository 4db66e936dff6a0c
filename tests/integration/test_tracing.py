"""Tracing in processes of their own, where the library is missing or set up by whoever runs them."""

from __future__ import annotations

import subprocess
import sys


def test_library_need_not_be_installed() -> None:
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from reworker.tracing import step_tracer\n"
        "assert step_tracer() is None"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_provider_that_the_process_has_set_up_is_used() -> None:
    program = (
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from reworker.tracing import StepTracer, step_tracer\n"
        "trace.set_tracer_provider(TracerProvider())\n"
        "assert isinstance(step_tracer(), StepTracer)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
