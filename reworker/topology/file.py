"""The topology as a file, in YAML or JSON: exchanges, queues, bindings, and worker types in short form."""

from __future__ import annotations

from pathlib import Path

from reworker.errors import ConfigError, PlaybookInvalid
from reworker.fsm.document import Problems, TooManyProblems, read_document
from reworker.topology.contents import TopologyFile
from reworker.topology.parsing import TopologyReader


def load_topology(path: str) -> TopologyFile:
    """Return what a topology file says.

    Raises:
        ConfigError: it cannot be read, or is wrong; has every problem with its line.
    """
    problems = Problems(path)
    found = None
    try:
        root = read_document(Path(path).read_bytes(), problems)
        found = TopologyReader(problems).topology(root)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path=path) from error
    except PlaybookInvalid as error:
        problems.found.append(error)
    except TooManyProblems:
        pass  # what was found is enough
    if found is None or problems.found:
        raise _config_error(problems.found)
    return found


def _config_error(problems: list[PlaybookInvalid]) -> ConfigError:
    """Return all problems as one error, a line for each."""
    first, *others = sorted(problems, key=lambda one: one.line)
    reason = "\n".join([first.reason, *map(str, others)])
    place = f"{first.source}:{first.line}" if first.line else first.source
    return ConfigError(reason, key=first.path, path=place)
