"""The settings of the irc worker."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from reworker.worker import secret_of, tls_context

#: ports of IRC, in the clear and with TLS.
PORT, TLS_PORT = 6667, 6697
NICK = re.compile(r"[A-Za-z\[\]\\`_^{|}][A-Za-z0-9\[\]\\`_^{|}-]{0,29}")
CHANNEL = re.compile(r"[#&+!][^\x00-\x20\x7f,:]{1,63}")
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class IrcSettings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The worker's own settings."""

    host: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None
    tls: bool = True
    ca: str | None = None
    nick: str = "reworker"
    password: str | None = None
    password_file: str | None = None
    channels: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    burst_lines: Annotated[int, msgspec.Meta(ge=1)] = 5
    line_pause_s: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    server_timeout_s: Seconds = 30.0
    retry_s: Annotated[tuple[Seconds, ...], msgspec.Meta(min_length=1)] = (10.0, 30.0, 60.0, 300.0, 900.0)

    def __post_init__(self) -> None:
        """Check what no type can say.

        Raises:
            ValueError: it is wrong.
        """
        self.password, self.password_file = secret_of(self.password, self.password_file), None
        if self.password is not None and not re.fullmatch(r"[^\x00\r\n]+", self.password):
            raise ValueError("password: has a line break or nothing in it")
        if not NICK.fullmatch(self.nick):
            raise ValueError(
                f"nick: {self.nick!r} is no nick; use a letter, then letters and digits, 30 at most"
            )
        for entry in self.people:
            if not NICK.fullmatch(entry):
                raise ValueError(f"people: {entry!r} is no nick")
        for entry in self.channels:
            if not re.fullmatch(rf"{CHANNEL.pattern}( [^\x00-\x20\x7f,:][^\x00-\x20\x7f,]*)?", entry):
                raise ValueError(
                    f"channels: {entry!r} is no channel, or channel and key with a space between"
                )
        if self.ca is not None:
            tls_context(self.ca)

    def port_or_default(self) -> int:
        """Return the port."""
        return self.port or (TLS_PORT if self.tls else PORT)

    def keys(self) -> dict[str, str]:
        """Return the key of each channel that is named, empty where it has none."""
        return {name.lower(): key for name, _, key in (entry.partition(" ") for entry in self.channels)}
