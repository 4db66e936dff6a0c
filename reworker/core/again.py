"""What a deployment was made from, to start another one of it from the beginning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from reworker.errors import NotResumable
from reworker.fsm.domains import ByCommand
from reworker.fsm.plan import Plan
from reworker.storage.contract import DeploymentRow, Reader


class Making(msgspec.Struct, frozen=True):
    """What it takes to start a deployment: see `Service.submit`."""

    text: str
    values: Mapping[str, Any]
    playbook_id: str
    name: str
    domains: ByCommand = {}


def made_from(reader: Reader, row: DeploymentRow, plan: Plan) -> Making:
    """Return the text and the values of a deployment, with its stored playbook if it is of one.

    What the operator adds is not among it: another deployment gets what is added today.

    Raises:
        NotResumable: its text was not kept.
    """
    source = reader.source(row.id)
    if source is None or source.text is None:
        raise NotResumable(f"the text of deployment {row.id} was not kept; start its playbook anew")
    return Making(source.text, plan.dynamic, row.playbook_id or "", row.name, plan.domains)
