"""What the tests of foreign clients share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.iron_site import IronSite


@pytest.fixture(scope="session")
def iron_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IronSite]:
    """Give the whole product with a code worker; each test has a project of its own."""
    site = IronSite(tmp_path_factory.mktemp("iron"))
    yield site
    site.close()
