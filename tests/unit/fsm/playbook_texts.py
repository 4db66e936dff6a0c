"""Playbooks with one thing changed, and the check that it is refused."""

from __future__ import annotations

import json

import pytest

from reworker.errors import PlaybookInvalid
from reworker.fsm.parsing import parse, problems


def build(**changes):
    """Return a playbook as JSON text, with one sequence whose keys may be changed."""
    sequence = {"description": "d", "hosts": ["web1"], "steps": ["noop:Run"], **changes}
    return json.dumps({"group": "g", "name": "n", "execution": [sequence]})


def build_step(step):
    return build(steps=[step])


def refused(text, part, path=None):
    """Check that the first problem holds a text; return it."""
    found = problems(text)[0]
    assert part in found.reason
    assert path is None or found.path == path
    with pytest.raises(PlaybookInvalid) as caught:
        parse(text, "f.yaml")
    assert caught.value.reason == found.reason
    assert str(caught.value).startswith(f"f.yaml:{found.line}: ")
    return found
