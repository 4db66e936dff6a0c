"""``reworker schema``: the JSON Schemas of the messages, or of a worker's steps."""

from __future__ import annotations

import json

import click

from reworker.messages import schemas


@click.command()
@click.argument("worker", required=False)
def schema(worker: str | None) -> None:
    """Print the JSON Schemas (draft-07) of all messages, or of the steps of WORKER."""
    click.echo(json.dumps(_worker_schema(worker) if worker else schemas(), indent=2, ensure_ascii=False))


def _worker_schema(name: str) -> dict[str, object]:
    from reworker.host.plugins import load_worker

    return load_worker(name).schema()
