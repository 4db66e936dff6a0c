"""What the stored definitions say of task types, in memory, and told to the gateway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool

from reworker.clock import Clock
from reworker.core.definitions import Definitions
from reworker.errors import StorageError
from reworker.gateway.contract import Gateway, TaskRules
from reworker.web.conductor.definitions import rules_in
from reworker.web.errors import HttpProblem

logger = logging.getLogger(__name__)

#: seconds after which the database is looked at again, for what other processes have stored.
LOOK_S = 10.0
_NO_RULES = TaskRules()


class RuleBook:
    """The rules of each type; one thread at a time changes them, any may read.

    Args:
        definitions: the stored ones.
        gateway: is told what has changed.
        clock: says when to look again.
    """

    def __init__(self, definitions: Definitions, gateway: Gateway, clock: Clock) -> None:
        self._definitions, self._gateway, self._clock = definitions, gateway, clock
        self._documents: dict[str, bytes] = {}
        self._rules: dict[str, TaskRules] = {}
        self._look_mono_s = 0.0
        self._looking: asyncio.Task[None] | None = None

    def template(self, name: str) -> Mapping[str, Any]:
        """Return the values that a type has for parameters that a step does not name."""
        return self._rules.get(name, _NO_RULES).input_template

    def load(self) -> None:
        """Read the database, and tell the gateway what has changed.

        Raises:
            StorageError: the database cannot be read.
        """
        found = {row.name: row.document for row in self._definitions.all()}
        for name, document in found.items():
            if self._documents.get(name) != document:
                self._take(name, document)
        for name in self._documents.keys() - found.keys():
            self._rules.pop(name, None)
            self._gateway.rule(name, None)
        self._documents = found
        self._look_mono_s = self._clock.mono_s() + LOOK_S

    def _take(self, name: str, document: bytes) -> None:
        try:
            rules = rules_in(msgspec.json.decode(document))
        except HttpProblem as error:
            logger.warning("the stored definition of %r says nothing we can use: %s", name, error)
            return
        self._rules[name] = rules
        self._gateway.rule(name, rules)

    def look(self) -> None:
        """Read the database again if that is long ago; nobody waits for it. The event loop's thread."""
        if self._clock.mono_s() < self._look_mono_s or (self._looking and not self._looking.done()):
            return
        self._looking = asyncio.ensure_future(self._look())

    async def _look(self) -> None:
        self._look_mono_s = self._clock.mono_s() + LOOK_S
        try:
            await run_in_threadpool(self.load)
        except StorageError as error:
            logger.warning("the definitions of task types were not read again: %s", error)
