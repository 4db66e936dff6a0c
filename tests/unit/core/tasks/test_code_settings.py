from reworker.core.tasks.code_settings import CodeSettings, changed
from reworker.core.tasks.filtering import MASK, filtered
from reworker.core.tasks.options import CodeOptions

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


def test_mask_that_nobody_was_shown_is_a_value():
    assert changed(BEFORE, CodeSettings(env_vars={"A": MASK})).env_vars == {"A": MASK}
