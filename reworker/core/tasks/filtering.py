"""Payloads and configurations as people see them: with masks for what is called like a secret. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

#: stands for a secret.
MASK = "[FILTERED]"
#: what names of secrets hold, whatever their case.
SECRET_WORDS = (
    *("token", "security", "password", "secret", "pass", "connectionstring"),
    *("api_key", "apikey", "license", "credential"),
)

_NAME = re.compile("|".join(SECRET_WORDS), re.IGNORECASE)
#: ``name: value`` and ``name=value`` in text that is no JSON; a value in quotes ends with them.
_PAIR = re.compile(
    rf"""(?P<head>[\w.-]*(?:{"|".join(SECRET_WORDS)})[\w.-]*["']?[ \t]*[:=][ \t]*)"""
    r"""(?P<value>"(?:[^"\\\n]|\\.)*"?|'[^'\n]*'?|[^\s,;&"']+)""",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")


def is_secret(name: str) -> bool:
    """Tell whether a name is like that of a secret."""
    return _NAME.search(name) is not None


def filtered(text: str) -> str:
    """Return a text, JSON or not, with masks in the place of secrets; without any it stays as it is."""
    try:
        value = json.loads(text) if text.lstrip()[:1] in ("{", "[") else None
        found = _masked(value) if value is not None else None
    except (ValueError, RecursionError):
        value = found = None
    if value is None:
        return _without_url_passwords(_PAIR.sub(rf"\g<head>{MASK}", text))
    return text if found == value else json.dumps(found, ensure_ascii=False, indent=2)


def filtered_values(values: dict[str, str]) -> dict[str, str]:
    """Return variables by name, with masks in the place of secrets."""
    return {name: MASK if is_secret(name) else filtered(value) for name, value in values.items()}


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: MASK if is_secret(key) and one is not None else _masked(one) for key, one in value.items()
        }
    if isinstance(value, list):
        return [_masked(one) for one in value]
    return _without_url_passwords(value) if isinstance(value, str) else value


def _without_url_passwords(text: str) -> str:
    return _URL_PASSWORD.sub(rf"\1:{MASK}@", text) if "://" in text else text
