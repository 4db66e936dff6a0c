"""The irc worker without a server: its settings, the lines it says and those it hears."""

from __future__ import annotations

from typing import Any

import pytest

from replugin.ircnotifyworker import IRCNotifyWorker, texts_of
from replugin.ircnotifyworker.connection import Line, parsed
from reworker.errors import ConfigError
from reworker.testing import Harness, deliver
from reworker.worker import Notification

OWN = {"host": "irc.x.org"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("PING :a b\r", Line("", "PING", ["a b"])),
        ("PING a", Line("", "PING", ["a"])),
        (":bot!u@h JOIN :#ops", Line("bot", "JOIN", ["#ops"])),
        (":irc 001 bot :Welcome", Line("irc", "001", ["bot", "Welcome"])),
        (":irc 404 bot #ops :Cannot send", Line("irc", "404", ["bot", "#ops", "Cannot send"])),
        (":a!b@c kick  #ops bot :", Line("a", "KICK", ["#ops", "bot", ""])),
        ("ERROR", Line("", "ERROR", [])),
        (":irc", Line("", ":IRC", [])),
        ("", None),
        ("  ", None),
    ],
)
def test_line_of_a_server_is_taken_apart(text: str, line: Line | None) -> None:
    assert parsed(text) == line


def test_text_is_said_once_when_it_begins_with_the_slug() -> None:
    assert texts_of(Notification("Slug", "Slug: text", "p", []), "#a") == ["Slug: text"]
    assert texts_of(Notification("Slug", "text\n\n \nmore", "p", []), "#a") == ["Slug: text", "more"]
    assert texts_of(Notification("\n", "\n", "p", []), "#a") == ["(no text)"]


@pytest.mark.parametrize("target", ["#a", "#" + "x" * 63])
def test_line_leaves_room_for_what_the_server_adds(target: str) -> None:
    (text,) = texts_of(Notification("", "\U0001f600" * 500, "p", []), target)
    said = f"PRIVMSG {target} :{text}\r\n".encode()
    assert 512 - 100 - 4 <= len(said) <= 512 - 100
    assert text.endswith("\U0001f600...")


def test_step_is_not_started_when_a_parameter_is_wrong() -> None:
    transcript = deliver(IRCNotifyWorker, "ircnotify:Say", {"slug": "s", "target": "#a"}, config=OWN)
    assert transcript.statuses == ["failed"]
    assert "message: missing" in transcript.message
    assert "target: Expected `array`" in transcript.message


def test_worker_listens_to_irc_notifications_when_built() -> None:
    settings = Harness(IRCNotifyWorker, OWN).worker._settings
    assert (settings.queue, settings.routing_keys) == ("worker.ircnotify", ("notify.irc", "worker.ircnotify"))


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({}, "host: is missing"),
        ({**OWN, "port": 70000}, "port: Expected `int` <= 65535"),
        ({**OWN, "tls": "yes"}, "tls: Expected `bool`"),
        ({**OWN, "nick": "a b"}, "nick: 'a b' is no nick"),
        ({**OWN, "nick": "a\r\nQUIT"}, "is no nick"),
        ({**OWN, "password": "a\r\nQUIT"}, "password: has a line break"),
        ({**OWN, "channels": "#ops"}, "channels: Expected `array`"),
        ({**OWN, "channels": ["ops"]}, "channels: 'ops' is no channel"),
        ({**OWN, "channels": ["#ops a b"]}, "is no channel"),
        ({**OWN, "channels": ["#ops\r\nQUIT"]}, "is no channel"),
        ({**OWN, "people": ["a b"]}, "people: 'a b' is no nick"),
        ({**OWN, "burst_lines": 0}, "burst_lines: Expected `int` >= 1"),
        ({**OWN, "line_pause_s": -1}, "line_pause_s: Expected `float` >= 0"),
        ({**OWN, "retry_s": [0]}, "retry_s.*Expected `float` > 0"),
        ({**OWN, "ca": "/no/such"}, "cannot use the certificates"),
        ({**OWN, "chanels": []}, "did you mean 'channels'"),
    ],
)
def test_irc_settings_are_refused_when_wrong(config: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Harness(IRCNotifyWorker, config)
