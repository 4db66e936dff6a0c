"""Methods marked `@step`: what they take, checking what a message gives them, and their JSON Schema."""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from reworker.jobs.retry import Retry, retry_of
from reworker.messages import Step

F = TypeVar("F", bound=Callable[..., Any])

#: parameters of every step that are not a step method's own.
RESERVED = frozenset({"command", "subcommand", "hosts", "notify", "dynamic"})
_MARK = "_reworker_step"
#: types whose values need no conversion; most parameters are of these.
_PLAIN = frozenset((str, int, float, bool))
#: name of a step that takes every subcommand without a step of its own.
ANY = "*"


class StepOptions(msgspec.Struct, frozen=True):
    """What `@step(...)` was given."""

    name: str
    is_idempotent: bool
    timeout_s: float | None
    retry: Retry | None = None


class Parameter(msgspec.Struct, frozen=True):
    """One keyword-only parameter of a step method."""

    name: str
    kind: Any
    default: Any
    #: the kind, where its values need no conversion.
    plain: type | None = None

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is inspect.Parameter.empty


class StepMethod(msgspec.Struct, frozen=True):
    """A subcommand of a worker class."""

    options: StepOptions
    method: str
    parameters: tuple[Parameter, ...]
    #: names that a message may have among its parameters; with `takes_any` there may be others.
    known: frozenset[str]
    takes_any: bool
    is_async: bool
    summary: str


def step(
    name: str,
    *,
    idempotent: bool = False,
    timeout_s: float | None = None,
    retry: int | Retry | None = None,
) -> Callable[[F], F]:
    """Mark a method of a worker as the subcommand `name`.

    The method is ``(self, job, *, parameter: type = default, ...)``; it may be ``async def``.

    Args:
        name: as playbooks write it after the colon: a capital letter, then letters, digits, underscores;
            ``*`` takes every subcommand that has no step of its own, see `Job.subcommand`.
        idempotent: it may safely run twice, so a lost worker's step is run again.
        timeout_s: longest a run may take, seconds.
        retry: how often a run that fails is tried, a number or a `Retry`; else once.

    Raises:
        TypeError, ValueError: the method has another form, or `retry` is none.
    """
    policy = retry_of(retry)

    def mark(function: F) -> F:
        _check_form(function)
        setattr(function, _MARK, StepOptions(name, idempotent, timeout_s, policy))
        return function

    return mark


def steps_of(kind: type) -> dict[str, StepMethod]:
    """Return the steps of a worker class by subcommand, those of its bases included.

    Raises:
        TypeError: two methods have one name, or a type hint cannot be resolved.
    """
    found: dict[str, StepMethod] = {}
    for attribute in dir(kind):
        function = inspect.getattr_static(kind, attribute)
        options = getattr(function, _MARK, None)
        if not isinstance(options, StepOptions):
            continue
        if options.name in found:
            raise TypeError(f"{kind.__name__}: two methods are the step {options.name!r}")
        found[options.name] = _method_of(attribute, function, options)
    return found


def step_for(methods: Mapping[str, StepMethod], name: Any) -> StepMethod | None:
    """Return the step of a subcommand: its own, else the one that takes every other, if there is one."""
    return (methods.get(name) if isinstance(name, str) else None) or methods.get(ANY)


def arguments_of(method: StepMethod, message: Step) -> tuple[dict[str, Any], list[str]]:
    """Return (arguments for the method, everything that is wrong with them).

    A value comes from the step's parameters, else from the deployment's dynamic values; the other way round
    for the names that the step lists under ``dynamic``. Dynamic values may be texts, as people type them.
    """
    given, dynamic = message.parameters, message.dynamic
    listed = given.get("dynamic")
    wanted = set(map(str, listed)) if isinstance(listed, list) else ()
    values: dict[str, Any] = {}
    is_fine = method.takes_any or given.keys() <= method.known
    problems = [] if is_fine else _unknown(method, given)
    for parameter in method.parameters:
        name = parameter.name
        is_dynamic = name in dynamic and (name in wanted or name not in given)
        if not is_dynamic and name not in given:
            problems += [f"{name}: missing"] if parameter.is_required else []
            continue
        value = dynamic[name] if is_dynamic else given[name]
        if type(value) is parameter.plain:
            values[name] = value
            continue
        try:
            values[name] = msgspec.convert(value, parameter.kind, strict=not is_dynamic)
        except msgspec.ValidationError as error:
            problems.append(f"{name}: {error}")
    if method.takes_any:
        values.update({k: v for k, v in given.items() if k not in RESERVED and k not in values})
    return values, problems


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean ...?)" when something known is close to `name`, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def schema_of(kind: type) -> dict[str, Any]:
    """Return the contract of a worker class.

    ``{"worker": str, "steps": {subcommand: {"description", "idempotent", "timeout_s", "parameters"}}}``;
    `parameters` is a JSON Schema.
    """
    return {
        "worker": kind.__name__,
        "steps": {name: _step_schema(method) for name, method in sorted(steps_of(kind).items())},
    }


def _check_form(function: Callable[..., Any]) -> None:
    parameters = list(inspect.signature(function).parameters.values())
    keyword = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    positional = [one for one in parameters if one.kind not in keyword]
    if len(positional) != 2:
        raise TypeError(
            f"a step is written (self, job, *, parameter, ...), but {function.__qualname__} "
            f"has {len(positional)} positional parameters"
        )


def _method_of(attribute: str, function: Any, options: StepOptions) -> StepMethod:
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(f"a type hint of the step {options.name!r} cannot be resolved: {error}") from error
    signature = inspect.signature(function).parameters.values()
    parameters = tuple(
        _parameter(one.name, hints.get(one.name, Any), one.default)
        for one in signature
        if one.kind is inspect.Parameter.KEYWORD_ONLY
    )
    return StepMethod(
        options=options,
        method=attribute,
        parameters=parameters,
        known=RESERVED.union(one.name for one in parameters),
        takes_any=any(one.kind is inspect.Parameter.VAR_KEYWORD for one in signature),
        is_async=inspect.iscoroutinefunction(function),
        summary=(inspect.getdoc(function) or "").partition("\n")[0],
    )


def _parameter(name: str, kind: Any, default: Any) -> Parameter:
    return Parameter(name, kind, default, next((one for one in _PLAIN if one is kind), None))


def _unknown(method: StepMethod, parameters: Mapping[str, Any]) -> list[str]:
    known = [one.name for one in method.parameters]
    return [
        f"{name}: unknown parameter{suggestion(name, known)}"
        for name in parameters
        if name not in method.known
    ]


def _step_schema(method: StepMethod) -> dict[str, Any]:
    fields = [
        (one.name, one.kind) if one.is_required else (one.name, one.kind, one.default)
        for one in method.parameters
    ]
    model = msgspec.defstruct(
        method.options.name, fields, kw_only=True, forbid_unknown_fields=not method.takes_any
    )
    return {
        "description": method.summary,
        "idempotent": method.options.is_idempotent,
        "timeout_s": method.options.timeout_s,
        "parameters": msgspec.json.schema(model),
    }
