"""From a worker's name to its class."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from types import ModuleType

from reworker.errors import ConfigError
from reworker.host.making import reason_of
from reworker.plugin_path import join_plugin_folders
from reworker.worker import Worker

#: group of entry points in which packages name their workers.
GROUP = "reworker.workers"


def load_worker(name: str) -> type[Worker]:
    """Return the worker class that `name` means; plugins and modules of the current folder are found too.

    Args:
        name: ``module:Class``, or ``module:object`` of a worker in another style, which says its class; or
            a plugin's name: a package of `replugin`, where ``sleep`` and ``sleepworker`` mean the one worker
            of ``replugin.sleepworker``; or an entry point of `GROUP`.

    Raises:
        ConfigError: no such module or class, or the module fails to import; the text says which were tried.
    """
    _search_current_folder()
    module_name, _, class_name = name.partition(":")
    if class_name:
        module = _imported((module_name,), name)
        if not hasattr(module, class_name):
            place = getattr(module, "__file__", None) or module_name
            raise ConfigError(f"{place} has no {class_name!r}", key=name)
        return _checked(getattr(module, class_name), name)
    if "." in name:
        return _only_worker(_imported((name,), name), name)
    candidates = (f"replugin.{name}worker", f"replugin.{name}")
    # Looking through everything that is installed takes a while: only for what is no package of ours.
    named = None if any(map(_is_there, candidates)) else entry_point_of(name, entry_points(group=GROUP))
    if named is not None:
        module = _imported((named.module,), name)
        return _checked(getattr(module, named.attr, None), name) if named.attr else _only_worker(module, name)
    return _only_worker(_imported(candidates, name), name)


def entry_point_of(name: str, found: Iterable[EntryPoint]) -> EntryPoint | None:
    """Return the one entry point of a name, or None.

    Raises:
        ConfigError: several packages have one.
    """
    named = {one.value: one for one in found if one.name == name}
    if len(named) > 1:
        raise ConfigError(f"several packages name it so: {', '.join(named)}; use module:Class", key=name)
    return next(iter(named.values()), None)


def _search_current_folder() -> None:
    """Do as ``python -m`` does, but last in line: what is installed cannot be hidden."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    join_plugin_folders()


def _is_there(module: str) -> bool:
    try:
        return module.rpartition(".")[2].isidentifier() and find_spec(module) is not None
    except ModuleNotFoundError:  # there are no plugins at all
        return False


def _imported(candidates: tuple[str, ...], name: str) -> ModuleType:
    for candidate in candidates:
        if not all(part.isidentifier() for part in candidate.split(".")):
            continue
        try:
            return import_module(candidate)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{candidate}.".startswith(f"{error.name}."):
                raise ConfigError(f"{candidate} needs the module {error.name}", key=name) from error
        except (Exception, SystemExit) as error:  # a plugin may raise anything, and want to exit
            raise ConfigError(f"{candidate} cannot be imported: {reason_of(error)}", key=name) from error
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
    in_other_style = None if inspect.isclass(value) else getattr(value, "worker_class", None)
    if callable(in_other_style):  # an object that says by which class it is run
        value = in_other_style()
    if not (inspect.isclass(value) and issubclass(value, Worker)):
        raise ConfigError("is no subclass of reworker.worker.Worker", key=name)
    return value
