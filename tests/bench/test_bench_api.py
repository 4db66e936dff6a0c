"""The figures of the HTTP API, printed; they are no pass or fail."""

from tests.bench import bench_api


def test_figures_of_the_api():
    found = bench_api.figures()
    print("\n".join(f"{name:<14} {value:8.2f}" for name, value in found.items()))
    assert min(found.values()) > 0
