"""How the file of a code package is run: what its runtime, or its name, says."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence

from reworker.task_errors import PackageInvalid

#: commands in front of the file, by runtime; none is the file itself.
COMMANDS: dict[str, tuple[str, ...]] = {
    "sh": ("sh",),
    "bash": ("bash",),
    "python": ("python", "-u"),
    "node": ("node",),
    "ruby": ("ruby",),
    "php": ("php",),
    "perl": ("perl",),
    "go": ("go", "run"),
    "java": ("java", "-jar"),
    "mono": ("mono",),
    "binary": (),
}
#: other names, as clients have sent them.
ALIASES = {
    "shell": "sh",
    "javascript": "node",
    "nodejs": "node",
    "js": "node",
    "py": "python",
    "golang": "go",
    "jar": "java",
    "exe": "binary",
}
#: what a file is run by whose package does not say.
SUFFIXES = {
    "sh": "sh",
    "bash": "bash",
    "py": "python",
    "js": "node",
    "mjs": "node",
    "cjs": "node",
    "rb": "ruby",
    "php": "php",
    "pl": "perl",
    "go": "go",
    "jar": "java",
}
#: runtimes of which packages usually bring a script for the shell along.
_THROUGH_SHELL = ("go", "java", "mono")
_VERSION = re.compile(r"[-_ ]?[0-9][0-9.]*")


class Runtimes:
    """Finds what runs a file.

    Args:
        path: where programs are looked for.
        own: commands in place of ours, or of further runtimes, by name.
    """

    def __init__(self, path: str, own: Mapping[str, Sequence[str]]) -> None:
        self._path = path
        self._commands = {**COMMANDS, **{name.lower(): tuple(command) for name, command in own.items()}}
        self._found: dict[str, str] = {}

    def command(self, runtime: str, entry: str) -> list[str]:
        """Return program and arguments up to the file, for a process that begins in the package's folder.

        Args:
            runtime: as it was uploaded; versions count for nothing.
            entry: path of the file in the folder.

        Raises:
            PackageInvalid: the runtime is unknown, or not installed here.
        """
        name = self._name(runtime, entry)
        command = self._commands[name]
        if not command:
            return [f"./{entry}"]
        file = f"./{entry}" if entry.startswith("-") else entry
        return [self._program(command[0], name), *command[1:], file]

    def _name(self, runtime: str, entry: str) -> str:
        word = runtime.strip().lower()
        suffix = entry.rpartition(".")[2].lower()
        if not word:
            return SUFFIXES.get(suffix, "binary")
        name = word if word in self._commands else _VERSION.sub("", word)
        name = ALIASES.get(name, name)
        if name not in self._commands:
            known = ", ".join(sorted(self._commands))
            raise PackageInvalid(f"there is no runtime {runtime[:100]!a}; there are {known}")
        return "sh" if name in _THROUGH_SHELL and suffix == "sh" else name

    def _program(self, program: str, runtime: str) -> str:
        found = self._found.get(program) or shutil.which(program, path=self._path)
        if found is None:
            raise PackageInvalid(f"the worker has no {program} for the runtime {runtime}; install it there")
        self._found[program] = found
        return found
