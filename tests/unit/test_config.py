"""Settings: files, layers, MQ settings in the tutorial's shape, as YAML and as URL."""

import json

import msgspec
import pytest

from reworker import config
from reworker.errors import ConfigError


def written(tmp_path, text, name="mq.json"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


TUTORIAL = {"server": "mq.example.com", "vhost": "re", "user": "frob", "password": "s3cret", "port": 5673}


def test_mq_settings_reads_the_tutorials_json(tmp_path):
    settings = config.mq_settings(written(tmp_path, json.dumps(TUTORIAL)))
    assert settings.addresses() == [("mq.example.com", 5673)]
    assert (settings.vhost, settings.user, settings.password, settings.tls) == ("re", "frob", "s3cret", None)


def test_mq_settings_reads_yaml_with_a_cluster_and_tls(tmp_path):
    text = "servers: [a, 'b:1', '[::1]:2']\nssl: {ca: ca.pem, verify: false}\nheartbeat: 10\n"
    settings = config.mq_settings(written(tmp_path, text, "mq.yaml"))
    assert settings.addresses() == [("a", 5671), ("b", 1), ("::1", 2)]
    assert settings.tls == config.TlsSettings(ca="ca.pem", verify=False)
    assert settings.heartbeat_s == 10


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("amqp://u:p%40ss@h:1/v%2Fh", "amqp://u:***@h:1/v/h"),
        ("amqps://h", "amqps://guest:***@h:5671/"),
        ("amqp://h/?heartbeat=5", "amqp://guest:***@h:5672/"),
        ("amqp://[::1]:99/x", "amqp://guest:***@[::1]:99/x"),
        ("amqp://", "amqp://guest:***@localhost:5672/"),
    ],
)
def test_mq_settings_reads_a_url(url, masked):
    assert config.mq_settings(url).masked_url() == masked


def test_url_parts_are_decoded():
    settings = config.mq_settings("amqp://u%40x:p%40ss@h/v%2Fh?heartbeat=5")
    assert (settings.user, settings.password, settings.vhost) == ("u@x", "p@ss", "v/h")
    assert settings.heartbeat_s == 5


@pytest.mark.parametrize(
    ("value", "name"),
    [(True, "frob"), (False, ""), (None, ""), ("", ""), ("yes", "frob"), ("no", ""), ("CN=frob", "CN=frob")],
)
def test_mq_settings_say_which_user_messages_name(value, name):
    assert config.mq_settings({"user": "frob", "stamp_user": value}).stamp_user == name
    if isinstance(value, str) and value:
        query = f"?stamp_user={value.replace('=', '%3D')}"
        assert config.mq_settings(f"amqp://frob@h/{query}").stamp_user == name


@pytest.mark.parametrize("value", [3, ["frob"], {"user": "frob"}, "x" * 256, "\ud800"])
def test_mq_settings_are_refused_when_no_user_can_be_called_so(value):
    with pytest.raises(ConfigError, match="stamp_user: expected true, false or the name of a user, found"):
        config.mq_settings({"stamp_user": value})


def test_worker_hears_which_user_messages_name():
    assert config.mq_settings(config.mq_mapping("amqp://u@h/?stamp_user=true", {})).stamp_user == "u"


@pytest.mark.parametrize("source", ["amqp://h/?ack_timeout=60&canary=0", {"ack_timeout": 60, "canary": 0}])
def test_mq_settings_say_how_patient_the_broker_is_and_whether_to_test_it(source):
    settings = config.mq_settings(source)
    assert (settings.ack_timeout_s, settings.canary_s) == (60.0, 0)
    assert config.mq_settings({}).ack_timeout_s is None
    assert config.mq_settings({}).canary_s == 15


def test_password_is_not_in_repr():
    settings = config.mq_settings("amqp://u:topsecret@h/")
    assert "topsecret" not in repr(settings)
    assert "topsecret" not in repr({"p": settings.password})
    assert settings.password == "topsecret"


def test_password_comes_from_a_file(tmp_path):
    secret = written(tmp_path, "from file\n", "secret")
    assert config.mq_settings({"password_file": secret}).password == "from file"
    with pytest.raises(ConfigError, match="password_file"):
        config.mq_settings({"password_file": str(tmp_path / "gone")})


def test_mq_settings_come_from_the_environment():
    assert config.mq_settings(None, {"REWORKER_MQ": "amqp://h"}).servers == ("h",)
    with pytest.raises(ConfigError, match="REWORKER_MQ"):
        config.mq_settings(None, {})
    with pytest.raises(ConfigError, match="REWORKER_MQ"):
        config.mq_settings(None)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"server": 5}, "server"),
        ({"servers": ["a", ""]}, "server"),
        ({"server": "h:port"}, "server"),
        ({"server": ":5672"}, "server"),
        ({"prot": 5672}, "prot"),
        ({"username": "me"}, "username"),
        ({"port": "many"}, "port"),
        ({"port": 0}, "port"),
        ({"port": 70000}, "port"),
        ({"port": True}, "port"),
        ({"ssl": "yes"}, "ssl"),
        ({"ssl": {"ca": 1}}, "ssl"),
        ({"heartbeat": -1}, "heartbeat"),
        ({"ack_timeout": 0}, "ack_timeout"),
        ({"ack_timeout": "long"}, "ack_timeout"),
        ({"canary": -1}, "canary"),
        ({"acktimeout": 60}, "acktimeout"),
    ],
)
def test_mq_settings_name_the_key_that_is_wrong(values, key):
    with pytest.raises(ConfigError) as caught:
        config.mq_settings(values)
    assert caught.value.key == key


@pytest.mark.parametrize("url", ["amqp://h:port/", "amqp://h/?heartbeat=x", "amqp://h/?ack_timeout=0"])
def test_mq_settings_refuse_a_bad_url(url):
    with pytest.raises(ConfigError):
        config.mq_settings(url)


def test_null_values_are_defaults():
    assert config.mq_settings({"port": None, "ssl": None, "server": None}).addresses() == [
        ("localhost", 5672)
    ]
    assert config.mq_settings({"ssl": True}).addresses() == [("localhost", 5671)]
    assert config.mq_settings({"ssl": False}).tls is None


@pytest.mark.parametrize(
    "text", [b"\xff\xfe", "a: [", "- 1\n- 2\n", "just text", "a: !!python/object:x.Y {}"]
)
def test_load_mapping_refuses_what_is_no_mapping(tmp_path, text):
    path = written(tmp_path, text, "bad.yaml")
    with pytest.raises(ConfigError) as caught:
        config.load_mapping(path)
    assert caught.value.path == path


def test_load_mapping_names_the_line(tmp_path):
    with pytest.raises(ConfigError, match="line 2"):
        config.load_mapping(written(tmp_path, "a: 1\nb: ]\n"))


def test_load_mapping_says_when_a_file_is_missing(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load_mapping(tmp_path / "gone.json")


@pytest.mark.parametrize("text", ["", "# only a comment\n", b"\xef\xbb\xbf{}"])
def test_load_mapping_takes_an_empty_file_as_empty(tmp_path, text):
    assert config.load_mapping(written(tmp_path, text)) == {}


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "- " * 10_000, "a: 2026-13-45", "a: !!timestamp x", "a: \0", "&a [*a", "? [a]\n: b"],
)
def test_load_mapping_names_the_file_when_no_parser_takes_it(tmp_path, text):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"odd\.yaml: is neither JSON nor YAML"):
        config.load_mapping(path)


def test_load_mapping_stops_when_a_file_has_no_end():
    with pytest.raises(ConfigError, match="/dev/zero: is over the limit"):
        config.load_mapping("/dev/zero")


@pytest.mark.parametrize("rest", ["", "/re?heartbeat=5&ack_timeout=60&canary=0"])
def test_mapping_for_a_worker_says_everything_that_the_url_says(rest):
    url = f"amqps://frob:s3cret@mq.example.com:5673{rest}"
    wanted, found = config.mq_settings(url), config.mq_settings(config.mq_mapping(url, {}))
    assert msgspec.structs.asdict(found) == msgspec.structs.asdict(wanted)
