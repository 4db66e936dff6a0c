"""Domains: how a playbook and a start say them, and which hold for a step."""

from __future__ import annotations

import json

import pytest

from reworker.errors import ConfigError, PlaybookInvalid
from reworker.fsm.domains import domains_by_command, only
from reworker.fsm.parsing import parse, problems
from reworker.fsm.plan import Role, compile_plan
from reworker.fsm.plan_json import plan_from_json, plan_to_json
from reworker.fsm.playbook import Step
from reworker.fsm.rules import Rules

TEXT = """\
group: g
name: n
domain: blue
execution:
- hosts: [a]
  domain: [green, NO_DOMAIN]
  steps:
  - one:Do
  - two:Do:
    domain: red
    verify: one:Look
    rollback:
      three:Undo: {}
      domain: [NO_DOMAIN]
  - approval: ok?
- hosts: [a]
  steps:
  - one:Do
  - one:Do:
    domain: NO_DOMAIN
"""


def domains_of(**given: str) -> list[tuple[str, ...]]:
    plan = compile_plan(parse(TEXT), {}, domains=domains_by_command(given, "--domain"))
    return [one.domains for one in plan.steps() if not one.approval]


def test_what_stands_nearest_to_a_step_holds():
    assert domains_of() == [("green", "NO_DOMAIN"), ("red",), ("blue",), ()]
    plan = compile_plan(parse(TEXT), {})
    assert plan.step(1, Role.VERIFY).domains == ("red",)
    assert plan.step(1, Role.ROLLBACK).domains == ()
    assert {one.domains for one in plan.sequences} == {()}
    assert plan_from_json(json.loads(json.dumps(plan_to_json(plan)))) == plan


def test_what_is_given_for_one_deployment_holds_before_the_playbook():
    assert domains_of(**{"*": "x,y"}) == [("x", "y")] * 4
    assert domains_of(one="x", **{"*": "NO_DOMAIN"}) == [("x",), (), ("x",), ("x",)]
    plan = compile_plan(parse(TEXT), {}, domains={"one": ("x",), "three": ("z",)})
    assert plan.domains == {"one": ("x",), "three": ("z",)}
    assert plan.step(1, Role.VERIFY).domains == ("x",)
    assert plan.step(1, Role.ROLLBACK).domains == ("z",)


def test_domains_do_not_reach_what_the_operator_adds():
    check = Step(key="check:It", command="check", subcommand="It")
    plan = compile_plan(
        parse(TEXT), {}, rules=Rules(checks=(check,), actions=(check,)), domains={"*": ("x",)}
    )
    assert [one.domains for one in plan.steps() if one.command == "check"] == [(), ()]


def test_domain_for_a_command_that_no_step_has_is_refused():
    with pytest.raises(PlaybookInvalid, match="'thre', a command that no step has; did you mean 'three'"):
        compile_plan(parse(TEXT), {}, domains={"thre": ("x",)})


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        ("{}", "domain", "must be the name of a domain, or a list of such names, not a mapping"),
        ("[]", "domain", "must be the name of a domain, or a list of such names, not an empty list"),
        ("", "domain", "must be the name of a domain, or a list of such names, not nothing"),
        ("7", "domain", "must be the name of a domain, or a list of such names, not 7"),
        ("a.b", "domain", "'a.b' may hold only letters, digits, _ and -"),
        ("[a, 7]", "domain[1]", "must be text, not 7; quote it"),
        ("[a, b, a]", "domain[2]", "domain 'a' is listed twice"),
        ("[a, no_domain]", "domain[1]", "did you mean 'NO_DOMAIN'?"),
        ("NO-DOMAIN", "domain", "did you mean 'NO_DOMAIN'?"),
        ("code", "domain", "domain 'code' is that of code packages"),
        (f"[{', '.join('abcdefghijk')}]", "domain", "11 domains; the limit is 10"),
        (f"[{'a' * 90}, {'b' * 90}]", "domain", "have 181 characters together; the limit is 140"),
    ],
)
@pytest.mark.parametrize("place", ["", "execution[0].", "execution[0].steps[1]."])
def test_problem_has_its_line_and_place(place: str, value: str, path: str, reason: str) -> None:
    old, line = {
        "": ("domain: blue", 3),
        "execution[0].": ("  domain: [green, NO_DOMAIN]", 6),
        "execution[0].steps[1].": ("    domain: red", 10),
    }[place]
    indent = old[: len(old) - len(old.lstrip())]
    (found,) = problems(TEXT.replace(old, f"{indent}domain: {value}"))
    assert (found.line, found.path) == (line, place + path)
    assert reason in found.reason


def test_key_that_is_nearly_domain_is_guessed_everywhere():
    for text in (TEXT.replace("\ndomain:", "\ndomains:"), TEXT.replace("  domain: [g", "  domian: [g")):
        (found,) = problems(text)
        assert "did you mean 'domain'?" in found.reason
    (found,) = problems(TEXT.replace("    domain: red", "    domains: red"))
    assert "did you mean 'domain'?" in found.reason
    (found,) = problems(TEXT.replace("  - approval: ok?", "  - approval: ok?\n    domain: red"))
    assert "'domain' has no meaning for an approval" in found.reason


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"one": ""}, "'' is no domain"),
        ({"one": "a,,b"}, "'' is no domain"),
        ({"one": "a b"}, "'a b' is no domain: 1 to 100 letters"),
        ({"one": []}, "give at least one domain"),
        ({"one": ["a", "a"]}, "domain 'a' is listed twice"),
        ({"one": "no-domain"}, "did you mean 'NO_DOMAIN'?"),
        ({"a:b": "x"}, "'a:b' is no command, nor * for all of them"),
        ({"one": "code"}, "is that of code packages"),
        ({"one": ",".join("abcdefghijk")}, "11 domains; the limit is 10"),
    ],
)
def test_domains_given_for_one_deployment_are_checked(given, reason):
    with pytest.raises(ConfigError) as caught:
        domains_by_command(given, "--domain")
    assert reason in str(caught.value)
    assert "--domain" in str(caught.value)


def test_domains_given_for_one_deployment_are_read_as_text_or_list():
    assert domains_by_command({"one": " a, NO_DOMAIN ", "*": ["b"]}, "x") == {
        "one": ("a", "NO_DOMAIN"),
        "*": ("b",),
    }


def test_only_domain_is_that_of_a_step_without_a_choice():
    assert [only(one) for one in ((), ("a",), ("NO_DOMAIN",), ("a", "b"))] == ["", "a", "", ""]
