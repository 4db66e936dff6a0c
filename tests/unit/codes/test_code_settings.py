"""The settings of the code worker."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from replugin.codeworker.settings import CodeSettings
from reworker.codes.limits import Limits
from reworker.config import load_mapping
from reworker.errors import ConfigError
from reworker.jobs.own_settings import own_settings

ROOT = Path(__file__).parents[3]
SERVER = "https://reworker.example.com"


def test_example_loads_and_shows_every_key(tmp_path: Path) -> None:
    path = ROOT / "conf" / "code.yaml"
    text, token = path.read_text(encoding="utf-8"), tmp_path / "token"
    token.write_text("t")
    found = own_settings(CodeSettings, {**load_mapping(str(path)), "token_file": str(token)})
    assert found.limits == Limits()
    assert found.completed({}).token == "t"
    page = (ROOT / "docs" / "code-worker.md").read_text(encoding="utf-8")
    keys = [one.encode_name for kind in (CodeSettings, Limits) for one in msgspec.structs.fields(kind)]
    assert [key for key in keys if f"{key}:" not in text] == []
    assert [key for key in keys if f"`{key}`" not in page] == []
    defaults = msgspec.structs.asdict(CodeSettings())
    same = ("cache_mib", "path", "first_uid", "uid_count", "download_timeout_s", "cancel_grace_s")
    assert {key: getattr(found, key) for key in same} == {key: defaults[key] for key in same}


def test_environment_says_what_the_file_does_not() -> None:
    environ = {"REWORKER_SERVER": f"{SERVER}/", "REWORKER_TOKEN": "from the environment"}
    found = CodeSettings().completed(environ)
    assert (found.server, found.token) == (SERVER, "from the environment")
    assert CodeSettings(server="http://here", token="mine").completed(environ).token == "mine"


def test_token_is_masked() -> None:
    assert "swordfish" not in repr(CodeSettings(server=SERVER, token="swordfish"))
    assert "swordfish" not in repr(CodeSettings(server=SERVER).completed({"REWORKER_TOKEN": "swordfish"}))


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"server": "ftp://x"}, "is no http or https URL"),
        ({"server": "https://a:b@x"}, "a user, a password"),
        ({"work_dir": "relative"}, "expected an absolute path"),
        ({"cache_mib": 0}, ">= 1"),
        ({"limits": {"memory": 5}}, "unknown setting"),
        ({"limits": {"memory_mib": -1}}, ">= 1"),
        ({"runtimes": {"python": []}}, "expected a program"),
        ({"first_uid": 0}, ">= 1"),
        ({"cancel_grace_s": 0}, "> 0"),
        ({"token_file": "/nowhere/at/all"}, "cannot read the secret"),
        ({"sever": SERVER}, "did you mean"),
    ],
)
def test_wrong_setting_is_refused(config: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        own_settings(CodeSettings, config, "code.yaml")


def test_server_has_to_be_named() -> None:
    with pytest.raises(ValueError, match="REWORKER_SERVER"):
        CodeSettings().completed({})
