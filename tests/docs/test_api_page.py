"""docs/api.md says of the API what there is."""

import re

from reworker.core.principal import Scope
from reworker.web import api_v1, errors
from tests.docs.api_tables import PAGE, TITLES, shown, tables
from tests.docs.pages import ROOT

NAME = re.compile(r"(?:HttpProblem|_refuse_line)\(\s*\d{3},\s*f?\"([a-z-]+)\"")


def test_page_lists_every_operation_as_it_is():
    assert shown() == tables(), "python -m tests.docs.api_tables --write"


def test_page_has_a_title_for_every_kind_of_operation():
    assert {one.tag for one in api_v1.OPERATIONS} <= TITLES.keys()


def test_page_explains_every_problem():
    # pages show no names, IronWorker's clients get none, and Conductor's read the message alone
    others = {"pages", "ironworker", "conductor"}
    sources = [
        path.read_text() for path in (ROOT / "reworker" / "web").rglob("*.py") if not others & {*path.parts}
    ]
    raised = {name for source in sources for name in NAME.findall(source)}
    mapped = {name for _, _, name in errors._ERRORS}
    assert {"not-json", "nothing-changed", "cross-site"} <= raised
    wanted = {
        *raised,
        *mapped,
        "no-such-address",
        "method-not-allowed",
        "internal-error",
        "invalid-query",
        "invalid-body",
    }
    explained = set(re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text(), re.MULTILINE))
    assert wanted - explained == set()


def test_page_names_every_scope():
    assert [one for one in Scope if f"`{one}`" not in PAGE.read_text()] == []
