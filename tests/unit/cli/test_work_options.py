"""What commands say of values that are out of bounds."""

import pytest

from reworker.cli.work_options import made
from reworker.core.tasks.requests import NewCode, NewTask
from reworker.errors import ConfigError


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        (NewTask, {"code": "a", "timeout_s": 2 * 86_400.0}, "--timeout: at most 86400 seconds"),
        (NewTask, {"code": "a", "timeout_s": 0.0}, "--timeout: more than 0 seconds"),
        (NewTask, {"code": "a", "priority": 3}, "--priority: at most 2"),
        (NewCode, {"name": "a" * 300}, "--name: at most 200 characters"),
    ],
)
def test_value_out_of_bounds_is_refused_in_words(kind, values, said):
    with pytest.raises(ConfigError) as caught:
        made(kind, **values)
    assert str(caught.value) == said
