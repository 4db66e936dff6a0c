"""A worker that does one thing wrong: ``python -m tests.support.wrong_worker URL QUEUE FAULT``."""

from __future__ import annotations

import json
import sys
from typing import Any

import pika

#: what each does wrong; the first does nothing wrong.
FAULTS = (
    "nothing",
    "no started",
    "two finals",
    "ack first",
    "wrong correlation id",
    "never acks",
    "dies of bad JSON",
)


class WrongWorker:
    """Level 1, one message at a time."""

    def __init__(self, channel: Any, queue: str, fault: str) -> None:
        self._channel, self._fault = channel, fault
        channel.exchange_declare("re", "topic", durable=True)
        channel.exchange_declare("re.dead", "fanout", durable=True)
        channel.queue_declare(queue, durable=True, arguments={"x-dead-letter-exchange": "re.dead"})
        channel.queue_bind(queue, "re", queue)
        if fault != "never acks":
            channel.basic_qos(prefetch_count=1)
        channel.basic_consume(queue, self._on_message)
        print("consuming", flush=True)
        channel.start_consuming()

    def _on_message(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        if self._fault == "ack first":
            channel.basic_ack(method.delivery_tag)
        reply = self._answer(properties, body)
        for _ in range(2 if self._fault == "two finals" else 1):
            self._send(properties, reply)
        if self._fault not in ("ack first", "never acks"):
            channel.basic_ack(method.delivery_tag)

    def _answer(self, properties: Any, body: bytes) -> dict[str, Any]:
        try:
            parameters = json.loads(body)["parameters"]
        except (ValueError, KeyError) as error:
            if self._fault == "dies of bad JSON":
                raise
            return {"status": "failed", "message": f"not a step: {error}"}
        if parameters["subcommand"] != "add":
            return {"status": "failed", "message": "unknown subcommand"}
        if self._fault != "no started":
            self._send(properties, {"status": "started"})
        if "a" not in parameters:
            return {"status": "failed", "message": "a is missing"}
        self._channel.connection.sleep(parameters.get("seconds", 0))
        if parameters["a"] > 900:
            return {"status": "failed", "message": "too large"}
        return {"status": "completed", "data": {"sum": parameters["a"] + parameters["b"]}}

    def _send(self, properties: Any, reply: dict[str, Any]) -> None:
        if not properties.reply_to:
            return
        own_id = "0" * 24 if self._fault == "wrong correlation id" else properties.correlation_id
        own = pika.BasicProperties(correlation_id=own_id, app_id="wrong", reply_to="log")
        self._channel.basic_publish("", properties.reply_to, json.dumps(reply).encode(), own)


if __name__ == "__main__":
    url, queue, fault = sys.argv[1:]
    connection = pika.BlockingConnection(pika.URLParameters(url))
    WrongWorker(connection.channel(), queue, fault)
