"""Domains: variants of a worker type that stand apart, and which of them a step is for. Pure.

Several are in the order in which they are tried; the core takes the first that somebody works in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from reworker.errors import ConfigError, PlaybookInvalid
from reworker.fsm import checks
from reworker.fsm.document import Node, Problems
from reworker.fsm.playbook import Playbook, Step
from reworker.fsm.playbook import Sequence as Hosts

#: stands in a list for the workers without a domain.
NO_DOMAIN = "NO_DOMAIN"
#: stands for all commands where domains are given to single ones.
EVERY_COMMAND = "*"
#: domains of one step at most; our choice: each that nobody works in costs the broker a few questions.
DOMAIN_COUNT = 10
#: characters of a step's domains together, commas included: they stand in the routing key of its row.
DOMAINS_CHARACTERS = 140
#: domains whose queues belong to something else: those of code packages.
_TAKEN = frozenset({"code"})

#: domains by the command that they are for, or `EVERY_COMMAND`.
ByCommand = Mapping[str, tuple[str, ...]]


def domains(problems: Problems, node: Node, path: str) -> tuple[str, ...]:
    """Return the domains that one name or a list of names says."""
    if isinstance(node.value, str):
        places = [(node, path)]
    elif isinstance(node.value, list) and node.value:
        places = [(one, f"{path}[{index}]") for index, one in enumerate(node.value)]
    else:
        found_kind = "an empty list" if node.value == [] else checks.kind(node)
        reason = f"must be the name of a domain, or a list of such names, not {found_kind}"
        problems.add(reason, node.line, path)
        return ()
    found: list[str] = []
    for one, here in places:
        name = checks.word(problems, one, here)
        reason = _fault(name, found) if name else ""
        if reason:
            problems.add(reason, one.line, here)
        found += [name] if name else []
    reason = _excess(found)
    if reason:
        problems.add(reason, node.line, path)
    return tuple(found)


def domains_by_command(given: Mapping[str, str | Sequence[str]], key: str) -> ByCommand:
    """Return domains as they are given for one deployment; a text has commas between them.

    Args:
        given: ``{"megafrobber": "blue,NO_DOMAIN", "*": ["green"]}``.
        key: name of the option or field, for errors.

    Raises:
        ConfigError: a command or a domain is not the name of one.
    """
    found = {}
    for command, value in given.items():
        if command != EVERY_COMMAND and not checks.is_word(command):
            reason = f"{checks.shown(command)} is no command, nor * for all of them; write the part of a step"
            raise ConfigError(f"{reason} before its colon", key=key)
        names = value.split(",") if isinstance(value, str) else list(value)
        found[command] = _names([one.strip() for one in names], key)
    return found


def domains_in_lines(lines: Iterable[str], key: str) -> ByCommand:
    """Return domains as people write them: ``D[,D...]`` is for all commands, ``CMD=D[,D...]`` for one.

    Args:
        lines: none of them empty.
        key: name of the option or field, for errors.

    Raises:
        ConfigError: a command or a domain is not the name of one, or a command stands there twice.
    """
    given: dict[str, str] = {}
    for line in lines:
        command, sign, names = line.rpartition("=")
        command = command.strip() if sign else EVERY_COMMAND
        if command in given:
            whose = "all commands" if command == EVERY_COMMAND else command
            raise ConfigError(f"the domains of {whose} are given twice", key=key)
        given[command] = names
    return domains_by_command(given, key)


def _names(names: list[str], key: str) -> tuple[str, ...]:
    for index, name in enumerate(names):
        reason = _fault(name, names[:index])
        if not checks.is_word(name):
            reason = (
                f"{checks.shown(name)} is no domain: 1 to {checks.WORD_CHARACTERS} letters, digits, _ or -"
            )
        if reason:
            raise ConfigError(reason, key=key)
    reason = _excess(names)
    if reason or not names:
        raise ConfigError(reason or "give at least one domain", key=key)
    return tuple(names)


def _fault(name: str, before: Sequence[str]) -> str:
    """Return what is wrong with a name that may stand in a routing key; empty is nothing."""
    if name != NO_DOMAIN and name.upper().replace("-", "").replace("_", "") == NO_DOMAIN.replace("_", ""):
        return f"{name!r} would be a domain of this name; did you mean {NO_DOMAIN!r}?"
    if name in _TAKEN:
        return f"domain {name!r} is that of code packages; choose another name"
    return f"domain {name!r} is listed twice" if name in before else ""


def _excess(names: Sequence[str]) -> str:
    if len(names) > DOMAIN_COUNT:
        return f"{len(names)} domains; the limit is {DOMAIN_COUNT}"
    size = len(",".join(names))
    if size > DOMAINS_CHARACTERS:
        return (
            f"the names of these domains have {size} characters together; the limit is {DOMAINS_CHARACTERS}"
        )
    return ""


def placed(playbook: Playbook, by_command: ByCommand, *, source: str) -> tuple[Hosts, ...]:
    """Return the sequences of a playbook, each step with the domains that hold for it.

    Args:
        playbook: what stands nearest to a step holds: its own, else the sequence's, else the playbook's.
        by_command: of this deployment alone; they hold before the playbook's.
        source: name of the playbook for errors.

    Raises:
        PlaybookInvalid: a command is named that no step has.
    """
    steps = [step for sequence in playbook.execution for step in sequence.steps]
    known = {one.command for step in steps for one in (step, step.verify, step.rollback) if one}
    for command in by_command:
        if command not in known and command != EVERY_COMMAND:
            near = checks.did_you_mean(command, sorted(filter(None, known)))
            reason = f"a domain is given for {checks.shown(command)}, a command that no step has{near}"
            raise PlaybookInvalid(reason, source=source)
    return tuple(
        replace(
            one,
            domains=(),
            steps=_steps(one.steps, one.domains or playbook.domains, by_command),
        )
        for one in playbook.execution
    )


def _steps(steps: Iterable[Step], around: tuple[str, ...], by_command: ByCommand) -> tuple[Step, ...]:
    return tuple(_step(one, around, by_command) for one in steps)


def _step(step: Step, around: tuple[str, ...], by_command: ByCommand) -> Step:
    """Return a step with its domains; its ways to verify it and to take it back stand where it does."""
    if step.approval is not None:
        return step
    own = step.domains or around
    given = by_command.get(step.command) or by_command.get(EVERY_COMMAND)
    found = given or own
    return replace(
        step,
        domains=() if found == (NO_DOMAIN,) else found,
        verify=step.verify and _step(step.verify, own, by_command),
        rollback=step.rollback and _step(step.rollback, own, by_command),
    )


def only(names: tuple[str, ...]) -> str:
    """Return the domain of a step that has no choice; empty when it has none, or several."""
    return name_of(names[0]) if len(names) == 1 else ""


def name_of(domain: str) -> str:
    """Return a domain as it stands in names of queues and keys: nothing for no domain."""
    return "" if domain == NO_DOMAIN else domain
