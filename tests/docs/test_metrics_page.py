"""The page names every figure that there is, and none that there is not."""

import re

from reworker.bus.contract import Health
from reworker.cli.core_probe import counted
from reworker.cli.gateway_side import gateway_families
from reworker.host.health import bus_families
from reworker.host.metrics import process_families
from reworker.host.probes import PoolProbe
from tests.docs.pages import ROOT
from tests.integration.memory_pool import World
from tests.support.fake_gateway import FakeGateway

#: told by `CoreProbe` itself, which wants a whole core.
OF_A_CORE = {"reworker_core_in_flight", "reworker_core_database_up"}
HEALTH = Health(True, False, 0, 0, 0, 0)


def test_metrics_page_names_what_there_is():
    with World().pool() as pool:
        report = PoolProbe(pool)()
    families = [
        *(*report.families, *counted({}), *bus_families("x", HEALTH), *process_families("1", "x")),
        *gateway_families(FakeGateway()),
    ]
    there = {one.name for one in families} | OF_A_CORE
    section = (
        (ROOT / "docs" / "operations.md").read_text().partition("\n## Metrics\n")[2].partition("\n## ")[0]
    )
    assert set(re.findall(r"\b(?:reworker|process|task)_\w+", section)) == there
