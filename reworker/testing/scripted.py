"""A worker whose step parameters say how it ends: for tests of cores, brokers and of this library.

``scripted:Play: {outcome: fail, message: text}``; the outcomes are the keys of `OUTCOMES`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from reworker.worker import Worker, runner

#: seconds that `hang` hangs; longer than any test.
FOR_EVER_S = 3600.0


class Play:
    """One message, and what can be done with it."""

    def __init__(self, worker: Worker, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
        self.worker, self.delivery, self.output = worker, basic_deliver, output
        self.parameters: dict[str, Any] = body["parameters"]
        self._reply_to, self._corr_id = properties.reply_to, properties.correlation_id

    def ack(self) -> None:
        """Acknowledge."""
        self.worker.ack(self.delivery)

    def send(self, status: str, **more: Any) -> None:
        """Reply."""
        self.worker.send(self._reply_to, self._corr_id, {"status": status, **more}, exchange="")

    def begin(self) -> None:
        """Do what a good worker does first."""
        self.ack()
        self.send("started")

    def complete(self) -> None:
        """Do what a good worker does last."""
        self.send("completed", data=self.parameters.get("data"))

    def send_elsewhere(self, queue: str) -> None:
        """Send to a queue that nobody has declared."""
        self.worker.send(queue, self._corr_id, {"status": "completed"}, exchange="")

    @property
    def text(self) -> str:
        """Parameter ``message``."""
        return str(self.parameters.get("message", "as scripted"))

    @property
    def seconds(self) -> float:
        """Parameter ``seconds``."""
        return float(self.parameters.get("seconds", 0.1))

    @property
    def count(self) -> int:
        """Parameter ``count``."""
        return int(self.parameters.get("count", 10))


def _complete(play: Play) -> None:
    play.begin()
    play.complete()


def _fail(play: Play) -> None:
    play.begin()
    play.send("failed", message=play.text)


def _raising(error: BaseException) -> Callable[[Play], None]:
    def outcome(play: Play) -> NoReturn:
        play.begin()
        raise error

    return outcome


def _wait(play: Play) -> None:
    play.begin()
    time.sleep(play.seconds)
    play.complete()


def _hang(play: Play) -> None:
    play.begin()
    time.sleep(FOR_EVER_S)


def _spin(play: Play) -> None:
    """Hang in Python, where an interruption arrives."""
    play.begin()
    while True:
        time.sleep(0.001)


def _exit(play: Play) -> None:
    play.begin()
    os._exit(int(play.parameters.get("code", 9)))


def _segfault(play: Play) -> None:
    play.begin()
    ctypes.string_at(0)


def _fork(play: Play) -> None:
    """Fork, and let the child return into the library."""
    play.begin()
    if os.fork():
        os.wait()
        play.complete()


def _never_ack(play: Play) -> None:
    play.send("started")
    play.complete()


def _double_ack(play: Play) -> None:
    play.begin()
    play.ack()
    play.complete()


def _silent(play: Play) -> None:
    play.begin()


def _reject(play: Play) -> None:
    play.worker.reject(play.delivery)
    play.send("failed", message=play.text)


def _give_back(play: Play) -> None:
    play.worker.reject(play.delivery, requeue=True)


def _complete_first(play: Play) -> None:
    play.ack()
    play.complete()


def _complete_twice(play: Play) -> None:
    _complete(play)
    play.complete()


def _complete_then_fail(play: Play) -> None:
    _complete(play)
    play.send("failed", message=play.text)


def _odd_status(play: Play) -> None:
    play.begin()
    play.send("errored", message=play.text)


def _send_nowhere(play: Play) -> None:
    play.begin()
    play.send_elsewhere("a.queue.that.is.gone")
    play.complete()


def _unserialisable(play: Play) -> None:
    play.begin()
    play.send("completed", data=object())


def _chatty(play: Play) -> None:
    play.begin()
    for number in range(play.count):
        play.output.info("line %d", number)
    play.complete()


def _print(play: Play) -> None:
    play.begin()
    os.write(1, f"{play.text}\n".encode())
    play.complete()


def _change_folder(play: Play) -> None:
    play.begin()
    os.chdir("/")
    play.complete()


def _send_from_thread(play: Play) -> None:
    play.begin()
    thread = threading.Thread(target=play.complete)
    thread.start()
    thread.join()


def _leave_thread(play: Play) -> None:
    """Start a thread that outlives the job and says more."""
    play.begin()
    threading.Timer(play.seconds, play.complete).start()
    play.complete()


def _install_handler(play: Play) -> None:
    play.begin()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    play.complete()


OUTCOMES: Mapping[str, Callable[[Play], None]] = {
    "complete": _complete,
    "fail": _fail,
    "raise": _raising(RuntimeError("as scripted")),
    "key_error": _raising(KeyError("colour")),
    "value_error": _raising(ValueError("as scripted")),
    "system_exit": _raising(SystemExit(3)),
    "keyboard_interrupt": _raising(KeyboardInterrupt()),
    "slow": _wait,
    "hang": _hang,
    "spin": _spin,
    "exit": _exit,
    "segfault": _segfault,
    "fork": _fork,
    "never_ack": _never_ack,
    "double_ack": _double_ack,
    "silent": _silent,
    "reject": _reject,
    "give_back": _give_back,
    "complete_first": _complete_first,
    "complete_twice": _complete_twice,
    "complete_then_fail": _complete_then_fail,
    "odd_status": _odd_status,
    "send_nowhere": _send_nowhere,
    "unserialisable": _unserialisable,
    "chatty": _chatty,
    "print": _print,
    "change_folder": _change_folder,
    "send_from_thread": _send_from_thread,
    "leave_thread": _leave_thread,
    "install_handler": _install_handler,
}


class ScriptedWorker(Worker):
    """A classic worker, because some of its outcomes are things that steps cannot do.

    Parameters: ``outcome`` (a key of `OUTCOMES`, default complete; or ``{host: outcome}``), ``message``,
    ``data``, ``seconds``, ``count``, ``code``.
    """

    def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
        """Play the outcome."""
        play = Play(self, basic_deliver, properties, body, output)
        outcome = play.parameters.get("outcome", "complete")
        if isinstance(outcome, dict):
            hosts = play.parameters.get("hosts", ())
            outcome = next((outcome[one] for one in hosts if one in outcome), "complete")
        if outcome not in OUTCOMES:
            raise ValueError(f"no outcome {outcome!r}; there are {', '.join(OUTCOMES)}")
        OUTCOMES[outcome](play)


def main() -> None:
    """Run this worker: ``python -m reworker.testing.scripted mq.json``."""
    runner(ScriptedWorker)


if __name__ == "__main__":
    main()
