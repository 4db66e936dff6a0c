"""The programs that W2 compares: each consumes jobs that do nothing, in a session of its own.

    python -m tests.bench.job_contenders NAME URL COUNT PREFETCH

puts the jobs into a queue, consumes them, and prints ``{"cpu_s": float, "wall_s": float, "jobs": int}`` for
those after the warm-up. CPU is that of all processes of the session, so that a pool's children count.

Each is set up as its own documentation advises for many short tasks: what costs time and is not needed here
(results, events, gossip, rate limits, logs per task) is off. Acknowledgement is late, messages persist.

With `BENCH_TICKS` in the environment jobs take 10 ms each and write a line, and COUNT is all of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

QUEUE = "bench.jobs"
#: jobs before the measurement begins.
WARM_UP_COUNT = 500
#: seconds that a job takes which writes a line.
JOB_S = 0.01
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def session_cpu_s() -> float:
    """Return the processor time of all processes of this session; 10 ms is the finest the system tells."""
    session, ticks = os.getsid(0), 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            ticks += sum(int(one) for one in fields[11:15])
    return ticks / _TICKS_PER_S


class Meter:
    """Counts jobs; prints the figures at the last one, and the harness then ends the session."""

    def __init__(self, count: int) -> None:
        self._count, self._seen = count, 0
        #: tell of each job with a line.
        self._is_talking = "BENCH_TICKS" in os.environ
        self._began = (0.0, 0.0)

    def tick(self) -> None:
        """Count a job."""
        self._seen += 1
        if self._is_talking:
            time.sleep(JOB_S)
            os.write(_out, b"\n")
        if self._seen == WARM_UP_COUNT:
            self._began = (session_cpu_s(), time.monotonic())
        elif self._seen == WARM_UP_COUNT + self._count:
            cpu_s, wall_s = session_cpu_s() - self._began[0], time.monotonic() - self._began[1]
            figures = {"cpu_s": cpu_s, "wall_s": wall_s, "jobs": self._count}
            os.write(_out, f"{json.dumps(figures)}\n".encode())


#: where figures go: what a library prints on stdout is turned to stderr.
_out = 1
#: the meter of this process; a pool's child inherits it unused.
METER: Meter


def fill(url: str, count: int, *, queue: str = QUEUE, body: bytes = b"{}", **arguments: Any) -> None:
    """Put jobs of our own form into a durable queue."""
    import pika

    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare(queue, durable=True, arguments=arguments or None)
    for number in range(count):
        properties = pika.BasicProperties(
            delivery_mode=2,
            correlation_id=f"{number:024x}.1",
            message_id=f"m{number}",
            content_type="application/json",
        )
        channel.basic_publish("", queue, body, properties)
    connection.close()


def reworker_worker(url: str, count: int, prefetch: int) -> None:
    """Our `Worker`, one instance, classic style without replies."""
    from reworker.worker import Worker

    class BenchWorker(Worker):
        """Does nothing, and owes nobody a reply."""

        reports_status = False

        def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
            """Acknowledge."""
            self.ack(basic_deliver)
            METER.tick()

    body = json.dumps({"group": "g", "parameters": {"command": "bench", "subcommand": "Do"}}).encode()
    fill(url, count, queue="worker.bench", body=body, **{"x-dead-letter-exchange": "re.dead"})
    BenchWorker(url, queue="bench", prefetch=prefetch, OUTPUT_LEVEL="INFO").run_forever()


def hand_written(url: str, count: int, prefetch: int) -> None:
    """Pika's `SelectConnection`, everything in its callbacks: what no library can beat with pika alone."""
    import pika

    fill(url, count)

    def on_message(channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        json.loads(body)
        channel.basic_ack(method.delivery_tag)
        METER.tick()

    def on_channel(channel: Any) -> None:
        channel.basic_qos(prefetch_count=prefetch)
        channel.basic_consume(QUEUE, on_message)

    def on_open(connection: Any) -> None:
        connection.channel(on_open_callback=on_channel)

    pika.SelectConnection(pika.URLParameters(url), on_open_callback=on_open).ioloop.start()


def celery(url: str, count: int, prefetch: int, pool: str) -> None:
    """Celery with one worker of a pool; no results, events, gossip, mingle and heartbeat."""
    from celery import Celery

    app = Celery("bench", broker=url)
    app.conf.update(
        task_acks_late=True,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_default_queue=QUEUE,
        worker_prefetch_multiplier=prefetch,
        worker_disable_rate_limits=True,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
    )

    @app.task(name="do")
    def do() -> None:
        METER.tick()

    with app.producer_pool.acquire(block=True) as producer:
        for _ in range(count):
            do.apply_async(producer=producer)
    words = ["worker", "-P", pool, "-c", "1", "--loglevel=ERROR", "--without-gossip", "--without-mingle"]
    app.worker_main([*words, "--without-heartbeat"])


def dramatiq(url: str, count: int, prefetch: int) -> None:
    """Dramatiq with one thread and its default middleware but for metrics."""
    os.environ["dramatiq_queue_prefetch"] = str(prefetch)  # noqa: SIM112  # the library's own spelling
    import dramatiq as library
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    broker = RabbitmqBroker(url=url)
    library.set_broker(broker)

    @library.actor(queue_name=QUEUE, max_retries=0)
    def do() -> None:
        METER.tick()

    for _ in range(count):
        do.send()
    library.Worker(broker, worker_threads=1).start()
    while True:
        time.sleep(60)


def faststream(url: str, count: int, prefetch: int) -> None:
    """FastStream with its log per message off."""
    from faststream import AckPolicy, FastStream
    from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

    fill(url, count)
    broker = RabbitBroker(url, logger=None, default_channel=Channel(prefetch_count=prefetch))

    @broker.subscriber(RabbitQueue(QUEUE, durable=True), ack_policy=AckPolicy.NACK_ON_ERROR)
    async def do(body: dict[str, Any]) -> None:
        METER.tick()

    asyncio.run(FastStream(broker, logger=None).run())


def taskiq(url: str, count: int, prefetch: int) -> None:
    """Taskiq on its aio-pika broker, one receiver, no results."""
    from taskiq.api import run_receiver_task
    from taskiq_aio_pika import AioPikaBroker

    broker = AioPikaBroker(url, qos=prefetch)

    @broker.task
    async def do() -> None:
        METER.tick()

    async def run() -> None:
        await broker.startup()
        for _ in range(count):
            await do.kiq()
        await broker.shutdown()
        broker.is_worker_process = True
        await run_receiver_task(broker, run_startup=True)

    asyncio.run(run())


def aio_pika(url: str, count: int, prefetch: int) -> None:
    """A hand-written consumer on aio-pika."""
    import aio_pika as library

    fill(url, count)

    async def on_message(message: Any) -> None:
        json.loads(message.body)
        await message.ack()
        METER.tick()

    async def run() -> None:
        connection = await library.connect(url)
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=prefetch)
        queue = await channel.get_queue(QUEUE)
        await queue.consume(on_message)
        await asyncio.Future()

    asyncio.run(run())


CONTENDERS: Mapping[str, Callable[[str, int, int], None]] = {
    "reworker": reworker_worker,
    "pika, by hand": hand_written,
    "aio-pika, by hand": aio_pika,
    "Dramatiq": dramatiq,
    "Celery solo": lambda *given: celery(*given, "solo"),
    "Celery threads": lambda *given: celery(*given, "threads"),
    "Celery prefork": lambda *given: celery(*given, "prefork"),
    "FastStream": faststream,
    "taskiq": taskiq,
}
#: distribution of each, for its version.
PACKAGES = {
    "pika, by hand": "pika",
    "aio-pika, by hand": "aio-pika",
    "Dramatiq": "dramatiq",
    "Celery solo": "celery",
    "Celery threads": "celery",
    "Celery prefork": "celery",
    "FastStream": "faststream",
    "taskiq": "taskiq",
}

if __name__ == "__main__":
    name, url, count, prefetch = sys.argv[1:]
    _out = os.dup(1)
    os.dup2(2, 1)
    METER = Meter(int(count))
    total = int(count) if "BENCH_TICKS" in os.environ else WARM_UP_COUNT + int(count) + int(prefetch)
    CONTENDERS[name](url, total, int(prefetch))
