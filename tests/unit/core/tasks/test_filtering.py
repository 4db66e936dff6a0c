import json

import pytest

from reworker.core.tasks.filtering import MASK, filtered, filtered_values


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "API_TOKEN",
        "security_id",
        "userPassword",
        "client_secret",
        "pass",
        "ConnectionString",
        "api_key",
        "license",
    ],
)
def test_value_is_masked_when_its_name_is_that_of_a_secret(name):
    assert json.loads(filtered(json.dumps({name: "s3cr3t", "other": 1}))) == {name: MASK, "other": 1}
    assert "s3cr3t" not in filtered(f"{name}=s3cr3t;other=1")
    assert "s3cr3t" not in filtered(f'{name}: "s3cr3t with blanks"\nother: 1')
    assert filtered_values({name: "s3cr3t"}) == {name: MASK}


def test_secrets_are_masked_at_any_depth_and_whole():
    text = json.dumps({"a": [{"password": {"x": ["deep"]}}], "b": {"token": 5}})
    assert json.loads(filtered(text)) == {"a": [{"password": MASK}], "b": {"token": MASK}}


@pytest.mark.parametrize(
    "text",
    ['{"b": 1,   "a": [1.0]}', "plain words", "", "[1,2", "{}", '"text"', "a=1&b=2", '{"token": null}'],
)
def test_text_stays_as_it_is_when_there_is_no_secret(text):
    assert filtered(text) == text


def test_password_in_a_url_is_masked():
    assert filtered('{"url": "amqp://me:hunter2@host/"}').count("hunter2") == 0
    assert "hunter2" not in filtered("see amqp://me:hunter2@host/ for it")


def test_json_that_is_nested_too_deep_is_shown_without_its_secrets():
    text = "[" * 200_000 + '{"password": "hunter2"}'
    assert "hunter2" not in filtered(text)
