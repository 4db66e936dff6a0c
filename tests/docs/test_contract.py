"""The contract in the docs is the one that the code makes."""

import pytest

from reworker.cli.schema import FOLDER, files
from tests.docs.pages import ROOT

DOCS = ROOT / "docs"
REFRESH = "refresh it: `reworker schema --output docs`"


@pytest.mark.parametrize("name", list(files()))
def test_file_is_as_the_code_makes_it(name):
    assert (DOCS / name).read_text(encoding="utf-8") == files()[name], REFRESH


def test_no_file_is_left_of_a_message_that_is_gone():
    found = {f"{FOLDER}/{path.name}" for path in (DOCS / FOLDER).iterdir()}
    assert found == {name for name in files() if name.startswith(FOLDER)}, REFRESH


def test_page_shows_every_file():
    page = (DOCS / "messages.md").read_text(encoding="utf-8")
    assert [name for name in files() if f"({name})" not in page] == []
