"""``reworker schema``: the contract on the bus, published: AsyncAPI, JSON Schemas, and that of a worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import yaml

from reworker.errors import ConfigError
from reworker.layers import did_you_mean
from reworker.published.document import document
from reworker.published.schemas import message_schemas, standalone

#: characters of a line of YAML.
_WIDTH = 110
#: name of the document, and of the folder with a schema for each message, below ``--output``.
DOCUMENT, FOLDER = "asyncapi.yaml", "schemas"


@click.command()
@click.argument("worker", required=False)
@click.option(
    "--format", "form", type=click.Choice(["yaml", "json"]), help="Form of the document.  [default: yaml]"
)
@click.option("--message", metavar="NAME", help="Print one JSON Schema (draft-07): step, reply, output, ...")
@click.option(
    "--output",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write the document, and each JSON Schema, into this folder.",
)
def schema(worker: str | None, form: str | None, message: str | None, folder: Path | None) -> None:
    """Print the contract on the bus as an AsyncAPI 3 document.

    With WORKER: the JSON Schemas (draft-07) of the steps of this worker.
    """
    given = {"WORKER": worker, "--message": message, "--output": folder}
    chosen = [name for name, value in given.items() if value is not None]
    if len(chosen) > 1:
        raise click.UsageError(f"give one of {', '.join(given)}; found {' and '.join(chosen)}")
    if form is not None and chosen:
        raise click.UsageError(f"--format is of the whole document, which {chosen[0]} does not print")
    if folder is not None:
        _write_all(folder)
    elif message is not None:
        click.echo(_json(_one(message)), nl=False)
    elif worker is not None:
        click.echo(_json(_worker_schema(worker)), nl=False)
    else:
        click.echo(_json(document()) if form == "json" else _yaml(document()), nl=False)


def _one(name: str) -> dict[str, Any]:
    known = list(message_schemas())
    if name not in known:
        hint = did_you_mean(name, known) or f"; known: {', '.join(known)}"
        raise ConfigError(f"there is no message {name[:60]!a}{hint}", key="--message")
    return standalone(name)


def _worker_schema(name: str) -> dict[str, Any]:
    from reworker.host.plugins import load_worker

    return load_worker(name).schema()


def files() -> dict[str, str]:
    """Return all that ``--output`` writes: text by path below the folder."""
    return {
        DOCUMENT: _yaml(document()),
        **{f"{FOLDER}/{name}.json": _json(standalone(name)) for name in message_schemas()},
    }


def _write_all(folder: Path) -> None:
    try:
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        for name, text in files().items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write into {folder}: {error.strerror}", key="--output") from error
    click.echo(f"{len(files())} files in {folder}")


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


class _Plain(yaml.SafeDumper):
    """Writes what stands twice twice: anchors are hard to read, and not every reader knows them."""

    def ignore_aliases(self, data: Any) -> bool:
        """Tell that nothing is to be written as an anchor."""
        return True


def _yaml(value: dict[str, Any]) -> str:
    return yaml.dump(value, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=_WIDTH)
