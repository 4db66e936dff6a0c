"""Payloads and configurations as people see them: with masks for what is called like a secret. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from reworker.logs import masked
from reworker.task_errors import TaskRefused

#: stands for a secret.
MASK = "[FILTERED]"
#: what names of secrets hold, whatever their case.
SECRET_WORDS = (
    *("token", "security", "password", "secret", "pass", "connectionstring"),
    *("api_key", "apikey", "license", "credential"),
)

#: parameters by which the step of a task is known.
_TASK_NAMES = frozenset({"task_id", "payload", "config", "env_vars"})
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


def restored(text: str, before: str, field: str) -> str:
    """Return a text in which those masks are secrets again that stand where they stood when it was shown.

    Args:
        text: as a person sends it back, changed or not.
        before: what was shown, with its secrets.
        field: of the request, for the error.

    Raises:
        TaskRefused: a mask stands for nothing that we know.
    """
    if MASK not in text:
        return text
    if text.split() == filtered(before).split():
        return before
    try:
        found = json.dumps(_restored(json.loads(text), json.loads(before)), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        found = text
    if MASK in found:
        raise TaskRefused(
            f"{MASK} stands for a secret; type the secret there, or leave all as it was", field=field
        )
    return found


def shown(value: Any) -> Any:
    """Return a plain value as people may see it; the parameters of a task's step as its page shows them."""
    parameters = value.get("parameters", value) if isinstance(value, dict) else None
    if not isinstance(parameters, dict) or not parameters.keys() >= _TASK_NAMES:
        return masked("", value)
    own = {name: filtered(str(parameters[name] or "")) for name in ("payload", "config")}
    whole = {**parameters, **own, "env_vars": filtered_values(dict(parameters["env_vars"] or {}))}
    return masked("", whole if parameters is value else {**value, "parameters": whole})


def _restored(value: Any, before: Any) -> Any:
    if value == MASK:
        return MASK if before is None else before
    if isinstance(value, dict) and isinstance(before, dict):
        return {key: _restored(one, before.get(key)) for key, one in value.items()}
    if isinstance(value, list) and isinstance(before, list) and len(value) == len(before):
        return [_restored(*pair) for pair in zip(value, before, strict=True)]
    return value


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
