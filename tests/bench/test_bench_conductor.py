"""The figures of the Conductor interface, printed; they are no pass or fail."""

from tests.bench import bench_conductor
from tests.support.conductor_site import require_clients


def test_figures_of_the_conductor_interface():
    require_clients()
    found = bench_conductor.figures()
    print(bench_conductor.shown(found))
    assert found["tasks_per_s"] > 0
