"""Stored playbooks, and the rules that are added to all of them; in the database, for all its processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from reworker.clock import Clock
from reworker.core import codec, submission
from reworker.errors import PlaybookNotFound, StaleVersion
from reworker.fsm.domains import ByCommand
from reworker.fsm.plan import Plan
from reworker.fsm.rules import Rules
from reworker.fsm.rules_json import rules_from_json, rules_to_json
from reworker.ids import new_id
from reworker.storage.contract import PlaybookRow, Storage, Unit

logger = logging.getLogger(__name__)

#: playbooks that one call returns at most.
PAGE_COUNT = 1000
_RULES = "rules"


#: done in the transaction that stores a version of a playbook.
Note = Callable[[Unit, PlaybookRow], None]


def _nothing(_unit: Unit, _row: PlaybookRow) -> None:
    return None


class Library:
    """What deployments are made from; any thread, any process.

    A playbook that was removed keeps its versions: its newest one then has no text.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, clock

    def store(
        self,
        text: str,
        *,
        actor: str = "",
        playbook_id: str = "",
        base_version: int = 0,
        note: Note = _nothing,
    ) -> PlaybookRow:
        """Store a playbook, or a new version of one; the text that is stored already changes nothing.

        Args:
            text: YAML or JSON.
            actor: who stores it.
            playbook_id: of the playbook; empty is a new one.
            base_version: that the text was made from; 0 is any.
            note: done in the transaction that stores it.

        Raises:
            PlaybookInvalid: nothing was stored.
            PlaybookNotFound: there is none of this id.
            StaleVersion: somebody else has stored a version since the one that the text was made from.
        """
        now = self._clock.now()
        draft = submission.new_playbook(playbook_id or new_id(now), 1, text, actor, now)
        with self._storage.begin() as unit:
            before = unit.playbook(playbook_id) if playbook_id else None
            if playbook_id and (before is None or not before.text):
                raise PlaybookNotFound(playbook_id)
            if before is not None and before.digest == draft.digest:
                return before
            if before is not None and base_version not in (0, before.version):
                raise StaleVersion(
                    f"version {before.version} of the playbook is stored by now, this was made from "
                    f"{base_version}: take over what was changed, then store it again"
                )
            row = msgspec.structs.replace(draft, version=before.version + 1 if before else 1)
            unit.add_playbook(row)
            note(unit, row)
        return row

    def remove(self, playbook_id: str, *, actor: str = "", note: Note = _nothing) -> None:
        """Remove a playbook; deployments of it go on, and its versions can still be read; see `store`.

        Raises:
            PlaybookNotFound: there is none of this id.
        """
        with self._storage.begin() as unit:
            before = unit.playbook(playbook_id)
            if before is None or not before.text:
                raise PlaybookNotFound(playbook_id)
            row = msgspec.structs.replace(
                before,
                version=before.version + 1,
                text="",
                digest="",
                actor=actor,
                created_at=self._clock.now(),
            )
            unit.add_playbook(row)
            note(unit, row)

    def playbook(self, playbook_id: str, version: int = 0) -> PlaybookRow:
        """Return a version of a playbook; 0 is the newest.

        Raises:
            PlaybookNotFound: no such playbook or version, or it was removed.
        """
        row = self._storage.reader.playbook(playbook_id, version)
        if not row.text:
            raise PlaybookNotFound(playbook_id)
        return row

    def playbooks(self, *, group: str = "") -> list[PlaybookRow]:
        """Return the newest version of each playbook, the newest first."""
        return self._storage.reader.playbooks(group=group, limit=PAGE_COUNT)

    def rules(self) -> Rules:
        """Return what is added to every playbook."""
        stored = self._storage.reader.setting(_RULES)
        return rules_from_json(msgspec.json.decode(stored)) if stored else Rules()

    def keep_rules(self, rules: Rules) -> None:
        """Make these the rules of the database, for the deployments that start from now on."""
        if rules == self.rules():
            return
        with self._storage.begin() as unit:
            unit.save_setting(_RULES, codec.encode(rules_to_json(rules)))
        logger.info(
            "the rules of the database are now: %d triggers, %d checks, %d actions, phase notification %s",
            *(len(rules.triggers), len(rules.checks), len(rules.actions)),
            f"to {rules.notice.topic}" if rules.notice else "off",
        )

    def draft(
        self, text: str, dynamic: Mapping[str, Any], source: str, domains: ByCommand | None = None
    ) -> submission.Draft:
        """Return the plan of a playbook's text with the rules of the database.

        Args:
            text: YAML or JSON.
            dynamic: values by name.
            source: name of the playbook for errors.
            domains: by command; they hold before those of the playbook.

        Raises:
            PlaybookInvalid: the playbook is wrong, a value is missing or wrong, or a message is too large.
        """
        return self._drafted(text, dynamic, source, self.rules(), domains=domains)

    def draft_again(
        self,
        text: str,
        dynamic: Mapping[str, Any],
        source: str,
        rules: bytes | None,
        before: Plan,
    ) -> submission.Draft:
        """Return the plan of a text with what an earlier deployment was given; see `draft`.

        Args:
            text: YAML or JSON.
            dynamic: values that are new.
            source: name of the playbook for errors.
            rules: of the earlier draft; None takes those of the database.
            before: plan of the earlier deployment: its values and domains hold unless there are new ones.
        """
        found = self.rules() if rules is None else rules_from_json(msgspec.json.decode(rules))
        given = {"before": before.dynamic, "domains": before.domains}
        return self._drafted(text, dynamic, source, found, **given)

    def _drafted(
        self, text: str, dynamic: Mapping[str, Any], source: str, rules: Rules, **given: Any
    ) -> submission.Draft:
        plan = submission.plan_of(text, dynamic, source, rules, **given)
        return submission.Draft(plan, text, codec.encode(rules_to_json(rules)))
