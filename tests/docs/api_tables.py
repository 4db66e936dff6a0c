"""The tables of docs/api.md, made from the operations themselves.

`python -m tests.docs.api_tables --write` puts them into the page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

from reworker.core.principal import Scope
from reworker.web import api_v1
from reworker.web.api_v1 import openapi
from reworker.web.operations import Operation
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "api.md"
#: tag of operations -> what the page calls them.
TITLES = {
    "deployment": "Deployments",
    "action": "Actions",
    "history": "What happened",
    "stream": "Streams",
    "playbook": "Playbooks",
    "people": "Tokens, audit, views, cores",
    "queue": "Queues",
    "worker": "Workers",
    "dead_letter": "Dead letters",
    "project": "Projects",
    "code": "Code packages",
    "task": "Tasks",
    "schedule": "Schedules",
}
_SECTION = re.compile(r"(?<=<!-- operations -->\n).*?(?=<!-- end of operations -->)", re.DOTALL)


def tables() -> str:
    """Return one table for each kind of operation."""
    found = []
    for tag in dict.fromkeys(one.tag for one in api_v1.OPERATIONS):
        rows = [_row(one) for one in api_v1.OPERATIONS if one.tag == tag]
        head = "| request | does | scope | takes |\n|---|---|---|---|"
        found.append(f"### {TITLES[tag]}\n\n{head}\n" + "\n".join(rows) + "\n")
    return "\n" + "\n".join(found) + "\n"


def _row(one: Operation) -> str:
    words = f"{one.summary}. {one.description}".strip().replace("\n", " ").replace("..", ".")
    scopes = "any" if set(one.also) == set(Scope) else ", ".join(dict.fromkeys((one.scope, *one.also)))
    return f"| `{one.method} {one.path}` | {words} | {scopes} | {_taken(one)} |"


def _taken(one: Operation) -> str:
    described = openapi.document([one])
    (way,) = (way for ways in described["paths"].values() for way in ways.values())
    query = [each["name"] for each in way["parameters"] if each["in"] == "query"]
    body = one.body.__name__ if one.body else one.form.__name__ if one.form else ""
    fields = described["components"]["schemas"][body].get("properties", {}) if body else {}
    parts = [
        ("query", query),
        ("header", ["Idempotency-Key"] if one.has_key else []),
        ("form" if one.form else "body", fields),
    ]
    return "; ".join(f"{name} {_listed(names)}" for name, names in parts if names)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def shown() -> str:
    """Return what the page shows."""
    found = _SECTION.search(PAGE.read_text(encoding="utf-8"))
    assert found, f"{PAGE} has no part for the operations"
    return found[0]


def write() -> None:
    """Put the tables into the page."""
    PAGE.write_text(_SECTION.sub(lambda _: tables(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__" and "--write" in sys.argv:
    write()
