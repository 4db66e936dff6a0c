"""From the input of a task to the arguments of a function: by name, converted as its hints say."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from reworker.conductor.models import Task

#: key of the input under which the message stands as it came.
RAW_KEY = "_re"
#: what may be said of the one parameter of a function that takes all of the input.
_WHOLE = (inspect.Parameter.empty, Any, object, dict, Mapping)


class Signature(NamedTuple):
    """What a function takes.

    Args:
        parameters: in their order.
        hints: what the hints mean, by name.
    """

    parameters: tuple[inspect.Parameter, ...]
    hints: Mapping[str, Any]

    def kind_of(self, parameter: inspect.Parameter) -> Any:
        """Return what a parameter's hint means."""
        return self.hints[parameter.name]


def signature_of(function: Callable[..., Any]) -> Signature:
    """Return what a function, or another object that can be called, takes."""
    plain = function if inspect.isroutine(function) else getattr(function, "func", type(function).__call__)
    parameters = tuple(inspect.signature(function).parameters.values())
    names = getattr(inspect.unwrap(plain), "__globals__", {})
    return Signature(parameters, {one.name: _meaning(one.annotation, names) for one in parameters})


def _meaning(hint: Any, names: dict[str, Any]) -> Any:
    """Return what a hint means; one that only a type checker understands stays text."""
    try:
        return typing.get_type_hints(types.SimpleNamespace(__annotations__={"hint": hint}), names)["hint"]
    except (NameError, TypeError, AttributeError, SyntaxError):
        return hint


def arguments_of(signature: Signature, task: Task) -> tuple[dict[str, Any], list[str]]:
    """Return (arguments by name, everything that is wrong with the input).

    A parameter marked `Task` gets the task. The only parameter of a function gets all of the input when there
    is no value of its name, and its hint is none or a dictionary.
    """
    given = task.input_data or {}
    if _takes_all(signature, given):
        return {signature.parameters[0].name: given}, []
    values: dict[str, Any] = {}
    problems: list[str] = []
    for one in signature.parameters:
        if one.kind is inspect.Parameter.VAR_KEYWORD:
            values.update({k: v for k, v in given.items() if k not in values and k != RAW_KEY})
        elif _is_task(signature.kind_of(one)):
            values[one.name] = task
        elif one.kind is not inspect.Parameter.VAR_POSITIONAL:
            problems += _take(one, signature.kind_of(one), given, values)
    return values, problems


def _takes_all(signature: Signature, given: Mapping[str, Any]) -> bool:
    if len(signature.parameters) != 1:
        return False
    (one,) = signature.parameters
    if one.name in given or one.kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
        return False
    kind = signature.kind_of(one)
    return one.default is inspect.Parameter.empty and (typing.get_origin(kind) or kind) in _WHOLE


def _take(
    parameter: inspect.Parameter, kind: Any, given: Mapping[str, Any], values: dict[str, Any]
) -> Iterator[str]:
    """Put one argument among the others, or yield what is wrong with it."""
    name, has_default = parameter.name, parameter.default is not inspect.Parameter.empty
    if name not in given:
        if not has_default and _may_be_none(kind):
            values[name] = None
        elif not has_default:
            yield f"{name}: missing"
        return
    try:
        values[name] = _converted(given[name], kind)
    except msgspec.ValidationError as error:
        yield f"{name}: {error}"


def _converted(value: Any, kind: Any) -> Any:
    """Return a value as its hint says; a hint that says nothing about plain values leaves it as it is.

    Raises:
        msgspec.ValidationError: it is of another kind.
    """
    if kind is inspect.Parameter.empty or isinstance(kind, str):
        return value
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        if isinstance(value, dict) and _is_plain_class(kind):
            return kind(**value)
        raise
    except TypeError:  # a hint that msgspec does not know
        return kind(**value) if isinstance(value, dict) and _is_plain_class(kind) else value


def _is_plain_class(kind: Any) -> bool:
    """Tell whether a mapping may be the arguments of a class's constructor."""
    return (
        inspect.isclass(kind)
        and kind.__module__ != "builtins"
        and not inspect.isabstract(kind)
        and not hasattr(kind, "__struct_fields__")
        and not hasattr(kind, "__dataclass_fields__")
    )


def _is_task(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, Task)


def _may_be_none(kind: Any) -> bool:
    is_union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return is_union and type(None) in typing.get_args(kind)
