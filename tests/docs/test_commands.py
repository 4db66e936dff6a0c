"""Every page, followed as a new user would: commands run and say what is shown."""

import pytest

from tests.docs.pages import ROOT, all_blocks, blocks_of
from tests.docs.reader import Reader, commands_of, expected_lines, seen_lines

PAGES = sorted({block.page for block in all_blocks("console")})


@pytest.mark.parametrize("page", PAGES)
def test_page_works_when_followed_word_for_word(page, tmp_path, process):
    reader = Reader(tmp_path, process)
    for block in blocks_of(ROOT / page):
        reader.follow(block)


def test_demo_is_what_make_demo_runs():
    rule = (ROOT / "Makefile").read_text().partition("\ndemo:")[2].splitlines()
    assert rule[1] == "\t$(BIN)/reworker demo"


def test_output_that_is_shown_is_missed_when_it_does_not_come():
    ((_, shown),) = commands_of("$ reworker run x\n...\n12:00:00.000  web1  noop:Run  completed\n")
    assert not expected_lines(shown) - seen_lines("13:11:11.111  web1  noop:Run  completed")
    assert expected_lines(shown) - seen_lines("13:11:11.111  web2  noop:Run  completed")
