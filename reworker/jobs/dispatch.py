"""Running a method marked `@step` for an attempt."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any

from reworker.errors import JobCancelled, JobFailed
from reworker.jobs.attempt import Attempt
from reworker.jobs.beginning import may_begin
from reworker.jobs.envelopes import STARTED, STARTED_BODY
from reworker.jobs.job import Job
from reworker.jobs.retry import policy_of
from reworker.jobs.steps import StepMethod, arguments_of, step_for, suggestion
from reworker.jobs.trying import tries_of
from reworker.messages import Reply, Step
from reworker.output import Output

if TYPE_CHECKING:
    import asyncio

_TEXT = frozenset((str,))


def run_step(worker: Any, methods: Mapping[str, StepMethod], attempt: Attempt, output: Output) -> None:
    """Check the parameters, say `started`, run the method and leave its result in the attempt.

    Where it has become another worker's meanwhile, nothing is run, and there is no result.

    Raises:
        JobFailed: no such subcommand, or wrong parameters; nothing was started.
        BaseException: whatever the method raises.
    """
    message = attempt.step or Step("", {})
    parameters = message.parameters
    attempt.method = method = _method_for(methods, parameters.get("subcommand"))
    values, problems = arguments_of(method, message)
    hosts = parameters.get("hosts") or []
    if not isinstance(hosts, list) or not _TEXT.issuperset(map(type, hosts)):
        problems = [*problems, f"hosts: expected a list of texts, found {hosts!r:.60}"]
    problems = problems or list(worker.problems_in(parameters["subcommand"], values, hosts))
    if problems:
        raise JobFailed(f"wrong parameters for {method.options.name}: {'; '.join(problems)}")
    if method.options.timeout_s is not None:
        attempt.limit(method.options.timeout_s)
    attempt.retry = policy_of(method.options.retry, attempt.station.settings)
    if not _is_begun(worker, attempt):
        return
    data = getattr(worker, method.method)(Job(attempt, message, output), **values)
    attempt.result = Reply("completed", _awaited(data, attempt) if method.is_async else data)


def _is_begun(worker: Any, attempt: Attempt) -> bool:
    """Say `started`; of a later try the core only needs to hear that it is there. Tell whether to go on."""
    tries = tries_of(attempt) if attempt.has_past else 0
    if not tries and worker.confirms_start and attempt.headers is not None:
        return may_begin(attempt)
    if not tries:
        attempt.reply(STARTED, STARTED_BODY)
    elif attempt.headers is not None and attempt.headers.heartbeat_s is not None:
        attempt.reply(Reply("running", message=f"try {tries + 1}"))
    return True


def _method_for(methods: Mapping[str, StepMethod], name: Any) -> StepMethod:
    found = step_for(methods, name)
    if found is None:
        close = suggestion(str(name), methods)
        raise JobFailed(f"unknown subcommand {name!r}{close}; known: {', '.join(sorted(methods))}")
    return found


def _awaited(work: Awaitable[Any], attempt: Attempt) -> Any:
    """Run a coroutine to its end on an event loop of its own."""
    import asyncio  # most workers have no such step, and a quarter of their import would go to it

    async def supervised() -> Any:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        attempt.interrupt.use(lambda: _cancel(loop, task))
        if attempt.is_cancelled:
            task.cancel()
        try:
            return await work
        finally:
            attempt.interrupt.use(None)

    try:
        return asyncio.run(supervised())
    except asyncio.CancelledError as error:
        raise (attempt.interrupt.fired or JobCancelled)() from error


def _cancel(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    loop.call_soon_threadsafe(task.cancel)
