import json

import pytest

from reworker.core.tasks.code_settings import CodeSettings, changed
from reworker.core.tasks.filtering import MASK, filtered, shown
from reworker.core.tasks.options import CodeOptions
from reworker.task_errors import TaskRefused

BEFORE = CodeOptions(retries=2, config='{"password": "x"}', env_vars={"API_KEY": "k", "A": "b"})


def test_only_what_is_given_is_changed():
    assert changed(BEFORE, CodeSettings(max_concurrency=3)).retries == 2
    assert changed(BEFORE, CodeSettings(retries=0)).retries == 0
    assert changed(BEFORE, CodeSettings()) == BEFORE
    assert CodeSettings().is_empty
    assert not CodeSettings(retries=0).is_empty


def test_masked_values_stay_as_they_are():
    asked = CodeSettings(config=filtered(BEFORE.config), env_vars={"API_KEY": MASK, "NEW": "1"})
    after = changed(BEFORE, asked)
    assert after.config == BEFORE.config
    assert after.env_vars == {"API_KEY": "k", "NEW": "1"}


def test_secret_stays_when_what_stands_beside_it_is_changed():
    before = CodeOptions(config='{"db": [{"password": "x", "port": 1}], "a": 1}')
    shown = filtered(before.config).replace('"port": 1', '"port": 2')
    after = changed(before, CodeSettings(config=shown)).config
    assert json.loads(after) == {"db": [{"password": "x", "port": 2}], "a": 1}


@pytest.mark.parametrize(
    "asked",
    [
        CodeSettings(env_vars={"A": MASK}),
        CodeSettings(env_vars={"NEW_TOKEN": MASK}),
        CodeSettings(config=f'{{"password": "x", "other": "{MASK}"}}'),
        CodeSettings(config=f"password={MASK}"),
    ],
)
def test_mask_that_stands_for_nothing_is_refused(asked):
    with pytest.raises(TaskRefused, match="type the secret"):
        changed(BEFORE, asked)


def test_text_without_structure_stays_as_it_was_when_line_ends_were_changed():
    before = CodeOptions(config="a=1\r\npassword=x\r\n")
    shown = filtered(before.config).replace("\r\n", "\n")
    assert changed(before, CodeSettings(config=shown)).config == before.config


def test_step_of_a_task_is_shown_without_its_secrets():
    parameters = {
        "task_id": "t",
        "payload": '{"license": "x"}',
        "config": "pass=x",
        "env_vars": {"API_KEY": "x"},
    }
    assert '"x"' not in json.dumps(shown({"parameters": parameters})).replace("\\", "")
    assert shown({"parameters": parameters})["parameters"] == shown(parameters)
    assert shown({"payload": "pass=x", "token": "t"}) == {"payload": "pass=x", "token": "***"}
