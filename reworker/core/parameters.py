"""The values of a deployment, held against `params` of its playbook: a JSON Schema (2020-12) for each name.

Needs jsonschema, of the extra `server`, and only for playbooks that have `params`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import msgspec

from reworker.core import patterns
from reworker.errors import ConfigError, PlaybookInvalid
from reworker.fsm import checks
from reworker.fsm.playbook import Playbook, dynamic_names
from reworker.fsm.rules import Rules

#: characters of what the library says of one value, and values that one error speaks of.
_REASON_CHARACTERS, _REASONS = 200, 20

#: keywords that lead to a network or around in circles, or match patterns in a way that cannot be limited.
_REFUSED = ("$ref", "$dynamicRef", "patternProperties")

_TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")

#: what comes when numbers, patterns or nesting are beyond what Python can do, or do in time.
_BEYOND = (OverflowError, RecursionError, TimeoutError, re.error)


@patterns.limited()
def problems(
    playbook: Playbook, lines: Mapping[str, int] | None = None, *, source: str
) -> list[PlaybookInvalid]:
    """Return what is wrong with the schemas themselves.

    Args:
        playbook: it may have other problems.
        lines: of the parameters, for errors.
        source: name of the playbook for errors.

    Raises:
        ConfigError: jsonschema is not installed.
    """
    found: list[PlaybookInvalid] = []
    for name, schema in playbook.params.items():
        reason = _schema_problem(schema) if isinstance(schema, dict) else ""
        if reason:
            line = (lines or {}).get(name, 0)
            found.append(PlaybookInvalid(reason, line=line, path=f"params.{name}", source=source))
    return found


@patterns.limited()
def complete(
    playbook: Playbook, given: Mapping[str, Any], rules: Rules | None = None, *, source: str
) -> dict[str, Any]:
    """Return the values of a deployment: those that are given, as their schemas want them, and defaults.

    Args:
        playbook: valid; without `params`, everything is taken as it is.
        given: values by name; a text may stand for a number or a boolean.
        rules: whose steps may ask for values, too.
        source: name of the playbook for errors.

    Raises:
        PlaybookInvalid: a schema is wrong; or values are missing, wrong or unknown, then all are named.
        ConfigError: jsonschema is not installed.
    """
    if not playbook.params:
        return dict(given)
    wrong = problems(playbook, source=source)
    if wrong:
        raise wrong[0]
    values = {name: _fitting(playbook.params.get(name), _readings(one)) for name, one in given.items()}
    defaults = {name: schema["default"] for name, schema in playbook.params.items() if "default" in schema}
    values = defaults | values
    reasons = list(_reasons(playbook.params, values, _listed(playbook, rules or Rules())))
    if reasons:
        more = [f"and {len(reasons) - _REASONS} more"] if len(reasons) > _REASONS else []
        shown = "; ".join([*reasons[:_REASONS], *more])
        raise PlaybookInvalid(f"values do not fit its params: {shown}", source=source)
    return values


def as_typed(playbook: Playbook, values: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return values from a command line: as they were typed where only the text fits its schema.

    Args:
        playbook: valid.
        values: what the texts mean as YAML.
        texts: what was typed, such as ``1.10`` for a version.
    """
    found = dict(values)
    for name, text in texts.items():
        schema = playbook.params.get(name)
        if schema is not None and _misfit(schema, found[name]) and not _misfit(schema, text):
            found[name] = text
    return found


def known(playbook: Playbook, values: Mapping[str, Any], rules: Rules | None = None) -> dict[str, Any]:
    """Return those values that a playbook, or a rule, has a use for; without `params`, all of them."""
    names = {*playbook.params, *_listed(playbook, rules or Rules())} if playbook.params else values.keys()
    return {name: value for name, value in values.items() if name in names}


def _listed(playbook: Playbook, rules: Rules) -> frozenset[str]:
    """Return the names that steps list under `dynamic`."""
    own = (step for sequence in playbook.execution for step in sequence.steps)
    return dynamic_names((*own, *rules.checks, *rules.actions, *(one.step for one in rules.triggers)))


def _reasons(params: Mapping[str, Any], values: Mapping[str, Any], listed: frozenset[str]) -> Iterator[str]:
    """Yield what is wrong with the values; those that only a step lists may be anything."""
    for name, schema in params.items():
        reason = _misfit(schema, values[name]) if name in values else f"is missing{_wanted(schema)}"
        if reason:
            yield f"{checks.shown(name)} {reason}"
    known = sorted({*params, *listed})
    for name in sorted({*listed} - values.keys() - params.keys()):
        yield f"{checks.shown(name)} is missing"
    for name in sorted(values.keys() - set(known)):
        yield f"{checks.shown(name)} is unknown{checks.did_you_mean(name, known).replace(';', ',', 1)}"


def _wanted(schema: Mapping[str, Any]) -> str:
    """Say what is wanted of a missing value, as far as its schema tells in a word."""
    choices = schema.get("enum")
    if choices:
        return f" (one of {', '.join(map(repr, choices))})"[:_REASON_CHARACTERS]
    return f" ({schema['type']})" if isinstance(schema.get("type"), str) else ""


def _readings(value: Any) -> tuple[Any, ...]:
    """Return what a value may mean: itself, and the number or boolean that its text is."""
    if not isinstance(value, str):
        return (value,)
    try:
        meant = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return (value,)
    return (value, meant) if isinstance(meant, bool | int | float) else (value,)


def _fitting(schema: Mapping[str, Any] | None, readings: tuple[Any, ...]) -> Any:
    """Return the first reading that fits, else the one that the error should speak of."""
    if schema is None:
        return readings[0]
    return next((one for one in readings if not _misfit(schema, one)), readings[-1])


def _misfit(schema: Mapping[str, Any], value: Any) -> str:
    """Return why a value does not fit its schema; empty if it does."""
    library = _library()
    try:
        validator = library.validators.extend(library.Draft202012Validator, {"pattern": _check_pattern})
        error = library.exceptions.best_match(validator(schema).iter_errors(value))
    except _BEYOND as beyond:
        return f"cannot be checked: {beyond}"
    if error is None:
        return ""
    place = error.json_path.removeprefix("$")
    return f"does not fit{place and f' at {place}'}: {error.message[:_REASON_CHARACTERS]}"


def _check_pattern(validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[Any]:
    """Stand in for the library's own keyword, which would stop the process for as long as a match takes."""
    if validator.is_type(value, "string") and not patterns.is_match(pattern, value):
        yield _library().ValidationError(f"{value!r} does not match {pattern!r}")


def _schema_problem(schema: Mapping[str, Any]) -> str:
    """Return what is wrong with a schema, or with its default; empty if it is good."""
    library = _library()
    kind = library.Draft202012Validator
    found = next((key for key in _keys_of(schema) if key in _REFUSED), "")
    if found:
        return f"{found} is not supported; write the schema out"
    try:
        checker = kind(kind.META_SCHEMA, format_checker=kind.FORMAT_CHECKER)
        error = library.exceptions.best_match(checker.iter_errors(schema))
    except _BEYOND as beyond:
        return f"the schema cannot be used: {beyond}"
    if error is not None:
        return _explained(error)
    if "default" in schema:
        reason = _misfit(schema, schema["default"])
        return f"the default {reason}" if reason else ""
    return ""


def _explained(error: Any) -> str:
    """Say what is wrong with a schema; the library says of a wrong type only that it is none."""
    if error.path and error.path[-1] == "type" and isinstance(error.instance, str):
        return f"unknown type {checks.shown(error.instance)}{checks.did_you_mean(error.instance, _TYPES)}"
    place = error.json_path.removeprefix("$").removeprefix(".")
    return f"the schema is wrong{place and f' at {place}'}: {error.message[:_REASON_CHARACTERS]}"


def _keys_of(value: Any) -> Iterator[str]:
    """Yield every key of mappings in a value; a playbook's nesting is limited."""
    if isinstance(value, dict):
        yield from value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys_of(one)


def _library() -> ModuleType:
    # not above: it takes a sixth of a second, and workers do without it
    try:
        import jsonschema
    except ModuleNotFoundError as error:
        reason = f"{error.name} is missing, which checks params: install reworker[server]"
        raise ConfigError(reason, key="params") from error
    return jsonschema
