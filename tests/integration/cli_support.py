"""The command line as people type it, and a core with workers as an operator runs them."""

import subprocess
import sys
from contextlib import contextmanager

from tests.support.processes import Process


def reworker(*arguments, folder, timeout_s=90, **options):
    return subprocess.run(
        [sys.executable, "-m", "reworker", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        **options,
    )


def start_system(process, url):
    """A core and two workers as processes of their own, as an operator runs them."""
    started = [process("-m", "reworker", "core", "--mq", url)]
    started += [process("-m", "reworker", "worker", name, url) for name in ("noop", "sleep")]
    for one, line in zip(started, ("core core runs", "consuming", "consuming"), strict=True):
        one.wait_for_line(line)


@contextmanager
def shared_system(folder, url):
    """Run such a system in a folder, for tests that leave it as free as they found it."""
    started = []

    def start(*arguments):
        started.append(Process(*arguments, folder=folder))
        return started[-1]

    try:
        start_system(start, url)
        yield folder
    finally:
        for one in started:
            one.close()
