"""Settings in layers: which wins, what is allowed, what was meant."""

import pytest

from reworker import layers
from reworker.errors import ConfigError


def test_layers_win_in_order_and_name_their_origin():
    layered = layers.Layered(("constructor", {"a": 1, "b": 1}), ("file", {"b": 2, "c": 2}), ("VAR", {"c": 3}))
    assert [layered.find(key) for key in "abc"] == [(1, "constructor"), (2, "file"), (3, "VAR")]
    assert layered.find("d", 9) == (9, "default")
    assert layered.get("b") == 2


def test_layered_integers_numbers_and_choices_are_checked():
    layered = layers.Layered(
        ("w.json", {"n": "7", "s": "2.5", "bad": "x", "yes": True, "inf": "inf", "ack": "late"})
    )
    assert layered.integer("n", 1) == 7
    assert layered.integer("gone", 3) == 3
    assert layered.number("s", None) == 2.5
    assert layered.number("gone", None) is None
    assert layered.choice("ack", "early", ("late", "early")) == "late"
    for key in ("bad", "yes", "s"):
        with pytest.raises(ConfigError, match=f"w.json: {key}"):
            layered.integer(key, 1)
    for key in ("bad", "yes", "inf"):
        with pytest.raises(ConfigError, match=f"w.json: {key}"):
            layered.number(key, 1.0)
    with pytest.raises(ConfigError, match="expected one of a, b"):
        layered.choice("ack", "a", ("a", "b"))


def test_environment_layer_takes_only_the_named_variables():
    environ = {"REWORKER_X_ACK": "early", "REWORKER_X_OTHER": "1", "ACK": "late"}
    assert layers.environment_layer(environ, "REWORKER_X_", {"ACK": "ack"}) == {"ack": "early"}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (layers.flag(), "Yes", True),
        (layers.flag(), False, False),
        (layers.flag(), "0", False),
        (layers.text(), 7, "7"),
        (layers.words(), "a, b c", ("a", "b", "c")),
        (layers.whole(1), "3", 3),
        (layers.number_above(0), 0.5, 0.5),
    ],
)
def test_value_is_read_when_it_is_allowed(kind, value, expected):
    assert layers.Layered(("file", {"k": value})).read("k", None, kind) == expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (layers.flag(), "maybe"),
        (layers.flag(), ""),
        (layers.flag(), 2),
        (layers.text(), ["a"]),
        (layers.text(), True),
        (layers.words(), None),
        (layers.words(), ["a", ""]),
        (layers.whole(1), None),
        (layers.whole(1), 0),
        (layers.whole(1), 1.5),
        (layers.number_above(0), 0),
        (layers.number_above(0), "nan"),
        (layers.number_above(0), "inf"),
        (layers.one_of("a", "b"), ["a"]),
    ],
)
def test_error_names_place_key_and_what_is_allowed(kind, value):
    layered = layers.Layered((lambda key: f"worker.ini:7 ({key})", {"k": value}))
    with pytest.raises(ConfigError) as caught:
        layered.read("k", "other", kind)
    assert str(caught.value) == f"worker.ini:7 (k): k: expected {kind.allowed}, found {value!r}"


def test_null_is_as_good_as_unset_when_a_kind_has_it():
    assert layers.Layered(("file", {"k": None})).read("k", 5.0, layers.number_above(0)) == 5.0


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("instanses", "; did you mean 'instances'?"),
        ("output_level", "; did you mean 'OUTPUT_LEVEL'?"),
        ("colour", ""),
    ],
)
def test_slip_is_recognised_when_it_is_close(word, hint):
    assert layers.did_you_mean(word, ("instances", "OUTPUT_LEVEL")) == hint
