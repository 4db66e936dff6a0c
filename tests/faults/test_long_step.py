"""Steps much longer than the heartbeat, and than the server waits for an acknowledgement (a minute here).

They run beside the other tests of this folder.
"""

from __future__ import annotations

import re

import pytest

from reworker.fsm.states import AttemptStatus
from tests.faults.conftest import is_per_consumer
from tests.support.system import System
from tests.support.truth import check_all

#: seconds they may take after the others: the whole length of one, and more on a busy day.
PATIENCE_S = 110.0
ACKNOWLEDGED = "is acknowledged, before the broker loses patience"

pytestmark = [pytest.mark.slow, pytest.mark.rabbitmq, pytest.mark.timeout(180)]


def completed(system: System) -> None:
    """Check that the step took 90 seconds, was done once, and that the connection held."""
    (view,) = system.wait_for_rest(timeout_s=PATIENCE_S)
    said = system.worker.output
    assert view.state.status == "completed", system.words()
    assert len(re.findall(r"\bconnected to", said)) == 1, said
    assert not re.search("reconnect|lost", said), said
    begin, end = system.service.attempts(view.row.id)[0].row, view.state.ended_at
    assert end
    assert begin.started_at
    assert (end - begin.started_at).total_seconds() >= 90
    assert check_all(system) == {"completed": 1}


@pytest.mark.parametrize("name", ["classic", "quorum"])
def test_step_longer_than_the_ack_timeout_completes_once(long_steps: dict[str, System], name: str) -> None:
    system = long_steps[name]
    completed(system)
    said = system.worker.output
    assert "closed the channel" not in said
    assert "cancelled the consumer" not in said
    # Where the consumer may choose, it has asked for longer; elsewhere it did not wait for the end.
    assert (ACKNOWLEDGED in said) is not is_per_consumer()


def test_step_completes_once_when_the_ack_timeout_was_not_known(long_steps: dict[str, System]) -> None:
    system = long_steps["untold"]
    completed(system)
    is_struck = "closed the channel" in system.worker.output
    assert is_struck is not is_per_consumer()
    assert (ACKNOWLEDGED in system.worker.output) is is_struck


def test_step_is_unknown_when_its_worker_is_lost_after_the_early_ack(long_steps: dict[str, System]) -> None:
    system = long_steps["lost"]
    (view,) = system.wait_for_rest(timeout_s=PATIENCE_S)
    (attempt,) = [one.row for one in system.service.attempts(view.row.id)]
    assert attempt.status == AttemptStatus.UNKNOWN, system.words()
    assert check_all(system) == {"failed": 1}  # nobody may be asked
