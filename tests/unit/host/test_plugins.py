"""Finding a worker by its name."""

from __future__ import annotations

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
