"""From a worker's name to its class."""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from importlib import import_module
from types import ModuleType

from reworker.errors import ConfigError
from reworker.plugin_path import join_plugin_folders
from reworker.worker import Worker


def load_worker(name: str) -> type[Worker]:
    """Return the worker class that `name` means; plugins and modules of the current folder are found too.

    Args:
        name: ``module:Class``; or a plugin's name: ``sleep`` and ``sleepworker`` both mean the one
            worker class in ``replugin.sleepworker``.

    Raises:
        ConfigError: no such module or class, or the module fails to import; the text says which were tried.
    """
    _search_current_folder()
    module_name, _, class_name = name.partition(":")
    if class_name:
        return _checked(getattr(_imported((module_name,), name), class_name, None), name)
    if "." in name:
        return _only_worker(_imported((name,), name), name)
    return _only_worker(_imported((f"replugin.{name}worker", f"replugin.{name}"), name), name)


def _search_current_folder() -> None:
    """Do as ``python -m`` does, but last in line: what is installed cannot be hidden."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    join_plugin_folders()


def _imported(candidates: tuple[str, ...], name: str) -> ModuleType:
    for candidate in candidates:
        if not all(part.isidentifier() for part in candidate.split(".")):
            continue
        try:
            return import_module(candidate)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{candidate}.".startswith(f"{error.name}."):
                raise ConfigError(f"{candidate} needs the module {error.name}", key=name) from error
        except Exception as error:  # a plugin may raise anything; its author wants the place
            place = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
            raise ConfigError(f"{candidate} cannot be imported: {reason}", key=name) from error
    hint = "Is its plugin installed, or its file in the current folder?"
    raise ConfigError(f"no such worker; tried {', '.join(candidates)}. {hint}", key=name)


def _only_worker(module: ModuleType, name: str) -> type[Worker]:
    own = [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Worker) and kind.__module__ == module.__name__
    ]
    if len(own) != 1:
        found = ", ".join(kind.__name__ for kind in own) or "none"
        raise ConfigError(
            f"{module.__name__} should define one Worker class, found {found}; use module:Class", key=name
        )
    return own[0]


def _checked(value: object, name: str) -> type[Worker]:
    if not (inspect.isclass(value) and issubclass(value, Worker)):
        raise ConfigError("is no subclass of reworker.worker.Worker", key=name)
    return value
