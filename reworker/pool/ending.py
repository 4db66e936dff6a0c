"""Jobs that do not end when they should: what is said of them, and how the process ends with one."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Sequence

from reworker.execution import Performer, may_repeat
from reworker.jobs.attempt import Attempt
from reworker.messages import Reply
from reworker.pool.children import children_of, end_trees
from reworker.pool.instance import Instance
from reworker.pool.signals import AT_ONCE_EXIT_CODE
from reworker.pool.stacks import job_of
from reworker.pool.states import REPLACE_EXIT_CODE

#: seconds that a process which ends at once may take for its last words.
LEAVE_S = 0.5
#: seconds that a process which ends with its job may take for replies and the broker.
LAST_WORDS_S = 10.0


def last_word(worker: Performer, attempt: Attempt, text: str) -> None:
    """Answer a job that has not ended and will not be waited for, and settle it.

    What is idempotent has failed: it may be done again. Of anything else nobody knows what it has done.
    """
    if attempt.owes_status:
        may_say_unknown = attempt.headers is not None and not may_repeat(worker, attempt)
        attempt.reply(Reply("unknown", reason=text) if may_say_unknown else Reply("failed", message=text))
    attempt.finish()


def left_behind(instances: Iterable[Instance]) -> str:
    """Return in words the jobs that run."""
    jobs = [job_of(one) for one in instances if one.station.current is not None]
    return "; ".join(jobs) or "no job"


def leave_process(logger: logging.Logger, instances: Sequence[Instance]) -> None:
    """End this process at once, as a second SIGTERM wants it; inside of a signal handler, on the main thread.

    What is left is delivered to other workers. A timer of the kernel ends the process when the log is stuck.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, LEAVE_S)
    try:
        logger.warning("ended at once, at the second signal; left behind: %s", left_behind(instances))
        end_trees(children_of(os.getpid()), signal.SIGKILL)
    finally:
        os._exit(AT_ONCE_EXIT_CODE)


def end_process(
    logger: logging.Logger, worker: Performer, attempt: Attempt, text: str, close: Callable[[], None]
) -> None:
    """End this process because of one job, so that it is replaced: children, last words, exit code 75.

    Args:
        logger: is told.
        worker: that runs it.
        attempt: that does not end.
        text: why, for its reply.
        close: takes no new work, waits for the reply and closes the bus.
    """
    if sys.__stderr__ is not None:
        with contextlib.suppress(ValueError):  # the job has closed it
            faulthandler.dump_traceback_later(LAST_WORDS_S, exit=True, file=sys.__stderr__)
    try:
        logger.error("%s: %s; this process ends, to be replaced", attempt.correlation_id, text)
        end_trees(children_of(os.getpid()), signal.SIGKILL)
        last_word(worker, attempt, text)
        close()
        logging.shutdown()
    finally:
        os._exit(REPLACE_EXIT_CODE)


def wait_until_settled(attempts: Callable[[], bool], mono_s: Callable[[], float], limit_s: float) -> None:
    """Late acknowledgement waits for confirms; give them a moment.

    Args:
        attempts: tells whether some are not settled yet.
        mono_s: the clock's.
        limit_s: seconds at most.
    """
    pause, deadline_mono_s = threading.Event(), mono_s() + limit_s
    while attempts() and mono_s() < deadline_mono_s:
        pause.wait(0.01)
