"""The example settings of the plugins that have settings of their own: they load, and show every key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from replugin.emailnotifyworker import EmailNotifyWorker, EmailSettings
from replugin.gitworker import GitWorker
from replugin.gitworker.settings import GitSettings, Repository
from replugin.httprequestworker import HttpRequestWorker
from replugin.httprequestworker.settings import Base, HttpSettings
from replugin.ircnotifyworker import IRCNotifyWorker
from replugin.ircnotifyworker.settings import IrcSettings
from replugin.webhooknotifyworker import Target, WebhookNotifyWorker, WebhookSettings

CONF = Path(__file__).parents[3] / "conf"
EXAMPLES = [
    ("emailnotify", EmailNotifyWorker, (EmailSettings,)),
    ("webhooknotify", WebhookNotifyWorker, (WebhookSettings, Target)),
    ("ircnotify", IRCNotifyWorker, (IrcSettings,)),
    ("httprequest", HttpRequestWorker, (HttpSettings, Base)),
    ("git", GitWorker, (GitSettings, Repository)),
]


@pytest.mark.parametrize(("name", "kind", "settings"), EXAMPLES, ids=[one[0] for one in EXAMPLES])
def test_example_loads_and_shows_every_key_when_read(name: str, kind: Any, settings: Any) -> None:
    kind(str(CONF / "mq.json"), config_file=str(CONF / f"{name}.yaml"))
    text = (CONF / f"{name}.yaml").read_text(encoding="utf-8")
    keys = {one.encode_name for struct in settings for one in msgspec.structs.fields(struct)}
    assert [key for key in sorted(keys) if f"{key}:" not in text] == []
    page = (CONF.parent / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert [key for key in sorted(keys) if f"`{key}`" not in page] == []
