"""Making one package `replugin` of all its folders.

Every plugin of 2014 brings a regular package `replugin` with an empty ``__init__.py``. In one site-packages
they merge; but in two folders of ``sys.path``, or with an editable install, Python sees only the first.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

NAME = "replugin"


def join_plugin_folders() -> None:
    """Let `replugin` find the plugins of every folder that it has: ours, on ``sys.path``, and editable ones.

    Every plugin imports `reworker.worker`, which calls this; so only a process that imports a plugin of
    the second folder before anything of ours would not see it.
    """
    try:
        package = import_module(NAME)
    except ModuleNotFoundError:
        return  # the bundled plugins were left out of this installation, and there are no others
    folders = [*package.__path__, str(Path(__file__).parent.parent / NAME)]
    for finder in sys.meta_path:
        spec = finder.find_spec(NAME, None) if hasattr(finder, "find_spec") else None
        folders += (spec and spec.submodule_search_locations) or ()
    folders += [str(Path(entry) / NAME) for entry in sys.path if entry]
    package.__path__ = [one for one in dict.fromkeys(folders) if Path(one).is_dir()]
