import pytest

from tests.support.waiting import wait_until


def test_wait_until_returns_the_answer_when_it_becomes_true() -> None:
    answers = iter([0, "", "there"])
    assert wait_until(lambda: next(answers), 5, poll_s=0) == "there"


def test_wait_until_names_the_wait_when_time_is_over() -> None:
    with pytest.raises(TimeoutError, match=r"still waiting for: a bus \(last answer: None\)"):
        wait_until(lambda: None, 0, "a bus")
