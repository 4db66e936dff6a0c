"""A step that is much longer than the connection's heartbeat; it runs beside the other tests here."""

from __future__ import annotations

import re

import pytest

from tests.support.system import System
from tests.support.truth import check_all

#: seconds it may take after the others: its whole length when it is the only one.
PATIENCE_S = 110.0


@pytest.mark.slow
@pytest.mark.rabbitmq
def test_step_of_ninety_seconds_completes_without_a_reconnect(long_step: System) -> None:
    (view,) = long_step.wait_for_rest(timeout_s=PATIENCE_S)
    assert view.state.status == "completed"
    said = long_step.worker.output
    assert len(re.findall(r"\bconnected to", said)) == 1, said
    assert not re.search("reconnect|lost", said), said
    begin, end = long_step.service.attempts(view.row.id)[0].row, view.state.ended_at
    assert end
    assert begin.started_at
    assert (end - begin.started_at).total_seconds() >= 90
    assert check_all(long_step) == {"completed": 1}
