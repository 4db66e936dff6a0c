"""The figures of the HTTP API, printed; they are no pass or fail."""

from tests.bench import bench_api, bench_idle


def test_figures_of_the_api():
    found = bench_api.figures()
    print("\n".join(f"{name:<14} {value:8.2f}" for name, value in found.items()))
    assert min(found.values()) > 0


def test_figures_of_a_core_and_a_server_that_idle():
    found = bench_idle.figures(2.0)
    print("\n".join(f"{name:<14} {value:8.2f}" for name, value in found.items()))
    assert min(found.values()) > 0
