"""Settings of the Conductor interface: which addresses, how long polls are held, what becomes of leases."""

from __future__ import annotations

from pathlib import Path

import msgspec

from reworker.errors import ConfigError
from reworker.gateway.contract import LateResult

#: bytes of a file that can be one of these settings.
FILE_BYTES = 64 << 10
#: seconds that a poll may be held: clients in Java give up reading after 10.
LONGEST_HOLD_S = 8.0
#: beginnings of addresses that are ours already.
TAKEN = ("/api/v0", "/api/v1", "/2", "/static")


class ConductorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How workers that speak Conductor's HTTP are served.

    Args:
        prefixes: what stands before ``/tasks`` and the like in addresses; empty is nothing.
        hold_s: seconds that a poll without a task waits for one.
        response_timeout_s: silence of a worker after which its lease is over, unless a definition says it.
        late_result: what becomes of a result whose lease is over: drop or accept.
        ledger: SQLite file that remembers which steps have ended; empty is a place beside the database, or
            memory alone without one.
    """

    prefixes: tuple[str, ...] = ("/api", "")
    hold_s: float = 5.0
    response_timeout_s: float = 600.0
    late_result: LateResult = LateResult.DROP
    ledger: str = ""

    def __post_init__(self) -> None:
        for one in self.prefixes:
            if one and (not one.startswith("/") or one.endswith("/") or one.startswith(TAKEN)):
                reason = f"{one[:60]!a} is no beginning of addresses that are free; write it like /api"
                raise ConfigError(reason, key="prefixes")
        if not self.prefixes:
            raise ConfigError(
                "without one no worker finds us; leave it out for /api and none", key="prefixes"
            )
        if not 0 <= self.hold_s <= LONGEST_HOLD_S:
            reason = f"takes 0 to {LONGEST_HOLD_S:g} seconds: clients stop to read after 10"
            raise ConfigError(reason, key="hold_s")
        if not 1 <= self.response_timeout_s <= 30 * 86400:
            raise ConfigError("takes 1 second to 30 days", key="response_timeout_s")


def load_settings(path: str) -> ConductorSettings:
    """Return the settings in a YAML file; an empty path are the defaults.

    Raises:
        ConfigError: it cannot be read, or says what makes no sense.
    """
    if not path:
        return ConductorSettings()
    import yaml  # not above: most servers have no such file

    try:
        text = Path(path).read_bytes()
        if len(text) > FILE_BYTES:
            raise ConfigError(f"has more than {FILE_BYTES} bytes")
        found = yaml.safe_load(text)
        return msgspec.convert({} if found is None else found, ConductorSettings)
    except ConfigError as error:
        raise ConfigError(error.reason, key=error.key, path=path) from error
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot be read: {error}", path=path) from error
    except msgspec.ValidationError as error:
        known = ", ".join(ConductorSettings.__struct_fields__)
        reason = f"does not say how workers are served: {error}; there are {known}"
        raise ConfigError(reason, path=path) from error
