"""What no file of the repository may say: machine paths, package registries, notes to oneself."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.house_rules import Violation

# The patterns are put together from pieces, so that this file passes its own rule.
_SLASH = "/"
#: Folders of one particular machine; `(?<![\w.-])` lets routes such as a/work pass.
MACHINE_PATHS = (
    rf"(?<![\w.:>-]){_SLASH}work(?:{_SLASH}|\b(?!-))",
    rf"(?<![\w.]){_SLASH}home{_SLASH}\w",
    rf"(?<![\w.]){_SLASH}Users{_SLASH}\w",
    rf"(?<![\w.]){_SLASH}root{_SLASH}\w",
    rf"\bshared{_SLASH}(?:design|spec|hooks)\b",
)
#: Hosts that packages come from; which one is used is the machine's setting.
_REGISTRIES = (
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("npmjs", "org"),
    ("npmjs", "com"),
    ("debian", "org"),
    ("ubuntu", "com"),
    ("golang", "org"),
    ("crates", "io"),
)
REGISTRY_HOSTS = tuple(rf"\b{name}\.{end}\b" for name, end in _REGISTRIES)
#: Notes that belong in the tracker.
_WORDS = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
NOTES = (rf"\b(?:{'|'.join(_WORDS)})\b",)
#: One of these is in whatever is forbidden; looking for them takes a tenth of the time.
_CLUES = (
    *(_SLASH + name for name in ("work", "home", "Users", "root")),
    f"shared{_SLASH}",
    *(f"{name}.{end}" for name, end in _REGISTRIES),
    *_WORDS,
)

FORBIDDEN = re.compile("|".join((*MACHINE_PATHS, *REGISTRY_HOSTS, *NOTES)))


def texts(root: Path) -> Iterator[tuple[str, str]]:
    """Yield path and text of every file that is, or would be, in the repository."""
    listing = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(listing, stdout=subprocess.PIPE, check=True, text=True).stdout
    for path in filter(None, found.split("\0")):
        file = root / path
        if file.is_file():
            yield path, file.read_bytes().decode("utf-8", errors="ignore")


def forbidden_text(path: str, text: str) -> Iterator[Violation]:
    """Yield each line that says what it may not."""
    if not any(clue in text for clue in _CLUES) or not FORBIDDEN.search(text):
        return
    for number, line in enumerate(text.splitlines(), 1):
        match = FORBIDDEN.search(line)
        if match:
            yield Violation(path, number, f"says {match[0]!r}")
