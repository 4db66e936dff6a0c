"""Finding a worker by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from reworker.errors import ConfigError
from reworker.host.plugins import load_worker


@pytest.mark.parametrize(
    "name", ["../x", ".", "..", ":", ":X", "a b", "\x1b]0;x\x07", "", "x.y:", "nosuch", "no.such"]
)
def test_name_is_refused_when_no_worker_has_it(name: str) -> None:
    with pytest.raises(ConfigError, match="no such worker"):
        load_worker(name)


def test_class_is_refused_when_it_is_no_worker() -> None:
    with pytest.raises(ConfigError, match="no subclass"):
        load_worker("os:system")


def test_name_that_its_module_lacks_is_told_with_the_file() -> None:
    with pytest.raises(ConfigError, match=r"^os:nosuch: .*os\.py has no 'nosuch'$"):
        load_worker("os:nosuch")


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("raise SystemExit('bye')", r"SystemExit: bye \(.*quitter\.py:1\)"),
        ("x = 1\ndef x(:", r"SyntaxError: invalid syntax \(.*quitter\.py:2\)"),
    ],
)
def test_module_is_named_with_its_line_when_it_cannot_be_imported(
    source: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "quitter.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=rf"^quitter:X: quitter cannot be imported: {error}$"):
        load_worker("quitter:X")
