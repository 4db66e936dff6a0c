"""Triggers, checks, actions and the notice in settings files, in our keys and in those of 2014."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from reworker.core.settings import CoreSettings, core_file, core_settings
from reworker.errors import ConfigError
from reworker.fsm.playbook import Expectation, OnUnknown, Step
from reworker.fsm.rules import PhaseNotice, Rules, TriggerRule

CONF = Path(__file__).parents[3] / "conf"

CHECK = {"NAME": "a check", "COMMAND": "noop", "SUBCOMMAND": "Look", "EXPECTATION": {"status": "completed"}}
ACTION = {"NAME": "an action", "COMMAND": "noop", "SUBCOMMAND": "Tell"}
TRIGGER = {"WHEN": {"NEXT_COMMAND": "service"}, "COMMAND": "noop", "SUBCOMMAND": "Wait"}
NOTICE = {"TOPIC": "notify.irc", "TARGET": ["#a"]}


def test_examples_of_both_spellings_say_the_same() -> None:
    ours, old = core_file(str(CONF / "release.yaml"), {}), core_file(str(CONF / "release-engine.json"), {})
    assert (old.settings.job_queue, old.settings.exchange) == ("re", "re")
    assert old.settings.log_file == "/var/log/reworker/recore.log"
    assert old.settings.release_log_dir == ours.settings.release_log_dir == "/var/log/reworker/releases"
    assert old.mq is not None
    assert old.mq.masked_url() == "amqp://guest:***@localhost:5672/"
    (note,) = old.notes
    assert note.startswith("DB is ignored")
    assert old.settings.rules.triggers == ours.settings.rules.triggers
    assert old.settings.rules.actions == ours.settings.rules.actions
    assert old.settings.rules.notice == ours.settings.rules.notice
    (first, second), old_checks = ours.settings.rules.checks, old.settings.rules.checks
    assert first == old_checks[0]
    assert (second.expectation, second.title) == (old_checks[1].expectation, old_checks[1].title)
    assert (second.timeout_s, second.is_idempotent, second.on_unknown) == (30.0, True, OnUnknown.RETRY)


def test_triggers_of_an_old_file_are_read() -> None:
    (found,) = core_file(str(CONF / "release-engine.json"), {}).settings.rules.triggers
    title = "let the load balancer notice"
    parameters = {"seconds": 5}
    assert found == TriggerRule(
        step=Step(
            key="sleep:Seconds", command="sleep", subcommand="Seconds", parameters=parameters, title=title
        ),
        next_command="service",
        next_subcommand="Restart",
        description=title,
    )


def test_everything_else_of_an_old_file_is_read() -> None:
    found = core_file(str(CONF / "release-engine.json"), {}).settings.rules
    assert replace(found, triggers=()) == Rules(
        checks=(
            Step(
                key="noop:Freeze",
                command="noop",
                subcommand="Freeze",
                parameters={"team": "web"},
                title="nobody froze the releases",
                expectation=Expectation(body={"status": "completed", "data": {"frozen": False}}),
            ),
            Step(
                key="noop:Disks",
                command="noop",
                subcommand="Disks",
                title="enough disks",
                expectation=Expectation(body={"data": {"healthy": True}}, is_subset=True),
            ),
        ),
        actions=(
            Step(
                key="noop:Inventory",
                command="noop",
                subcommand="Inventory",
                parameters={"source": "reworker"},
                title="tell the inventory",
            ),
        ),
        notice=PhaseNotice(topic="notify.irc", targets=("#releases",), url="https://reworker.example.com/%s"),
        step_timeout_s=4 * 3600.0,
    )


@pytest.mark.parametrize("name", ["NAME", "USER"])
def test_user_of_an_old_file_may_have_either_name(name: str) -> None:
    mq = core_file({"MQ": {"SERVER": "mq1", name: "core", "PASSWORD": "secret", "SSL": True}}, {}).mq
    assert mq is not None
    assert mq.masked_url() == "amqps://core:***@mq1:5671/"
    assert mq.password == "secret"
    assert "secret" not in repr(mq)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"LOGFILE": 5}, "LOGFILE"),
        ({"LOGLEVEL": "LOUD"}, "LOGLEVEL"),
        ({"LOGLEVEL": 5}, "LOGLEVEL"),
        ({"RELEASE_LOG_DIR": []}, "RELEASE_LOG_DIR"),
        ({"STEP_TIMEOUT": "soon"}, "STEP_TIMEOUT"),
        ({"MQ": {"EXCHANGE": 5}}, "MQ.EXCHANGE"),
        ({"MQ": {"QUEUE": 5}}, "MQ.QUEUE"),
        ({"MQ": {"PORT": "x"}}, "MQ.PORT"),
        ({"MQ": {"SERVER": "h:x"}}, "MQ.SERVER"),
        ({"MQ": {"NAME": 5}}, "MQ.NAME"),
        ({"PHASE_NOTIFICATION": {"TOPIC": 5, "TARGET": "a"}}, "PHASE_NOTIFICATION.TOPIC"),
    ],
    ids=str,
)
def test_error_names_the_key_that_an_old_file_has(tmp_path: Path, values: dict[str, Any], key: str) -> None:
    file = tmp_path / "old.json"
    file.write_text(json.dumps(values))
    with pytest.raises(ConfigError) as caught:
        core_file(str(file), {})
    assert (caught.value.key, caught.value.path) == (key, str(file))


def test_error_names_our_key_when_the_environment_has_it_and_the_file_is_old() -> None:
    with pytest.raises(ConfigError) as caught:
        core_file({"LOGLEVEL": "WARN"}, {"REWORKER_CORE_LOG_LEVEL": "loud"})
    assert (caught.value.key, caught.value.path) == ("log_level", "environment")


@pytest.mark.parametrize(
    ("when", "first", "second"),
    [
        ({"NEXT_COMMAND": "service"}, "service", ""),
        ({"NEXT_SUBCOMMAND": "Restart"}, "", "Restart"),
        ({"NEXT_COMMAND": "service", "NEXT_SUBCOMMAND": "Restart"}, "service", "Restart"),
    ],
)
def test_trigger_may_name_command_or_subcommand_alone(
    tmp_path: Path, when: dict[str, str], first: str, second: str
) -> None:
    path = tmp_path / "triggers.json"
    path.write_text(json.dumps({"STEP_TRIGGERS": [{**TRIGGER, "WHEN": when}]}))
    (found,) = core_file(triggers=str(path), environ={}).settings.rules.triggers
    assert (found.next_command, found.next_subcommand) == (first, second)


def test_file_of_triggers_wins_over_the_triggers_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "triggers.yaml"
    path.write_text("triggers:\n- {when: {next_command: a}, command: noop, subcommand: First}\n")
    found = core_file(str(CONF / "release.yaml"), {}, triggers=str(path)).settings.rules
    assert [one.step.key for one in found.triggers] == ["noop:First"]
    assert found.checks, "only the triggers are replaced"


def test_file_of_triggers_is_found_beside_the_settings(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(
        "triggers:\n- {when: {next_command: a}, command: noop, subcommand: First}\n"
    )
    (tmp_path / "core.yaml").write_text("triggers: t.yaml\n")
    assert len(core_settings(str(tmp_path / "core.yaml"), {}).rules.triggers) == 1


def test_parameters_may_hold_notifications_and_dynamic_names() -> None:
    parameters = {"color": "red", "notify": {"failed": {"irc": ["#a"]}}, "dynamic": ["ticket"]}
    (found,) = core_settings({"POST_DEPLOY_ACTION": [{**ACTION, "PARAMETERS": parameters}]}, {}).rules.actions
    assert found.parameters == {"color": "red"}
    assert found.notify == {"failed": {"irc": ("#a",)}}
    assert found.dynamic_names == ("ticket",)


@pytest.mark.parametrize("empty", [None, []])
def test_keys_may_be_empty(empty: Any) -> None:
    keys = ("TRIGGERS", "PRE_DEPLOY_CHECK", "POST_DEPLOY_ACTION", "PHASE_NOTIFICATION", "MQ", "LOGFILE")
    assert core_settings(dict.fromkeys(keys[1:4], empty), {}) == CoreSettings(rules=Rules())
    found = core_file(dict.fromkeys(keys, None), {})
    assert (found.settings, found.mq) == (CoreSettings(rules=Rules()), None)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"TRIGERS": "x"}, ["TRIGERS", "did you mean 'TRIGGERS'"]),
        ({"MQ": {}, "name": "core"}, ["name", "unknown setting"]),
        ({"PRE_DEPLOY_CHECKS": []}, ["did you mean 'PRE_DEPLOY_CHECK'"]),
        ({"pre_deploy_check": []}, ["did you mean 'pre_deploy_checks'"]),
        ({"TRIGGERS": ["x"]}, ["TRIGGERS", "name of a file"]),
        ({"TRIGGERS": "no-such-file.json"}, ["no-such-file.json", "cannot be read"]),
        ({"LOGLEVEL": "LOUD"}, ["LOGLEVEL", "LOUD"]),
        ({"LOGFILE": 5}, ["LOGFILE", "5"]),
        ({"RELEASE_LOG_DIR": ["x"]}, ["RELEASE_LOG_DIR"]),
        ({"MQ": "amqp://x"}, ["MQ", "mapping"]),
        ({"MQ": {"server": "x"}}, ["MQ.server", "did you mean 'SERVER'"]),
        ({"MQ": {"SERVER": 5}}, ["MQ.SERVER", "text"]),
        ({"MQ": {"PORT": "many"}}, ["MQ.PORT", "many"]),
        ({"MQ": {"PORT": 70000}}, ["MQ.PORT", "70000"]),
        ({"MQ": {"NAME": 5}}, ["MQ.NAME", "text"]),
        ({"MQ": {"USER": "a", "NAME": "b"}}, ["NAME and USER"]),
        ({"MQ": {"SSL": "yes"}}, ["MQ.SSL"]),
        ({"MQ": {"QUEUE": 5}}, ["MQ.QUEUE", "5"]),
        ({"PRE_DEPLOY_CHECK": {}}, ["PRE_DEPLOY_CHECK", "list"]),
        ({"PRE_DEPLOY_CHECK": [5]}, ["PRE_DEPLOY_CHECK[0]", "mapping"]),
        ({"PRE_DEPLOY_CHECK": [{**CHECK, "EXPECTED": 1}]}, ["PRE_DEPLOY_CHECK[0].EXPECTED", "EXPECTATION"]),
        ({"PRE_DEPLOY_CHECK": [{**CHECK, "EXPECTATION": 1}]}, ["PRE_DEPLOY_CHECK[0].EXPECTATION", "mapping"]),
        ({"PRE_DEPLOY_CHECK": [{**CHECK, "EXPECTATION_MATCH": "some"}]}, ["[0].EXPECTATION_MATCH", "subset"]),
        ({"PRE_DEPLOY_CHECK": [{**CHECK, "COMMAND": "a b"}]}, ["[0].COMMAND", "letters"]),
        ({"PRE_DEPLOY_CHECK": [{**CHECK, "COMMAND": 7}]}, ["[0].COMMAND", "text"]),
        ({"PRE_DEPLOY_CHECK": [{**CHECK, "timeout": 7}]}, ["[0].timeout", "unknown"]),
        ({"PRE_DEPLOY_CHECK": [{**CHECK, "PARAMETERS": [1]}]}, ["[0].PARAMETERS", "mapping"]),
        (
            {"PRE_DEPLOY_CHECK": [{**CHECK, "PARAMETERS": {"hosts": []}}]},
            ["PARAMETERS.hosts", "set by the core"],
        ),
        ({"PRE_DEPLOY_CHECK": [CHECK, ACTION]}, ["PRE_DEPLOY_CHECK[1]", "'EXPECTATION' is missing"]),
        ({"POST_DEPLOY_ACTION": [{"NAME": "x", "COMMAND": "noop"}]}, ["'SUBCOMMAND' is missing"]),
        ({"POST_DEPLOY_ACTION": [{**ACTION, "EXPECTATION": {}}]}, ["[0].EXPECTATION", "unknown"]),
        ({"PHASE_NOTIFICATION": {"TOPIC": "x"}}, ["PHASE_NOTIFICATION", "'TARGET' is missing"]),
        ({"PHASE_NOTIFICATION": {**NOTICE, "TABOOT_URL": "http://x/%d"}}, ["TABOOT_URL", "%s"]),
        ({"PHASE_NOTIFICATION": {**NOTICE, "TARGET": [5]}}, ["TARGET[0]", "text"]),
        ({"PHASE_NOTIFICATION": {**NOTICE, "URL": ""}}, ["PHASE_NOTIFICATION.URL", "unknown"]),
        (
            {"triggers": [{"when": {}, "command": "a", "subcommand": "b"}]},
            ["triggers[0].when", "next_command"],
        ),
        ({"triggers": [{"command": "a", "subcommand": "b"}]}, ["triggers[0]", "'when' is missing"]),
        ({"triggers": 5}, ["triggers", "list"]),
        ({"step_timeout": "long"}, ["step_timeout", "duration"]),
        ({"STEP_TIMEOUT": -1}, ["STEP_TIMEOUT", "duration"]),
        (
            {"pre_deploy_checks": [{"name": "x", "command": "a", "subcommand": "b", "timeout": 0}]},
            ["timeout"],
        ),
        (
            {
                "post_deploy_actions": [
                    {"name": "x", "command": "a", "subcommand": "b", "parameters": {"d": date.max}}
                ]
            },
            ["post_deploy_actions[0].parameters.d", "JSON"],
        ),
        (
            {"post_deploy_actions": [{"name": "x", "command": "a", "subcommand": "b", "parameters": {5: 1}}]},
            ["parameters", "quote it"],
        ),
        (
            {
                "post_deploy_actions": [
                    {"name": "x", "command": "a", "subcommand": "b", "parameters": {"d": 2**64}}
                ]
            },
            ["parameters.d", "JSON"],
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_error_names_place_and_reason_when_a_value_is_wrong(
    tmp_path: Path, values: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        core_file(values, {})
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
    assert "constructor" in str(caught.value) or "no-such-file" in str(caught.value)


def test_password_is_not_repeated_when_mq_is_a_url() -> None:
    with pytest.raises(ConfigError, match="expected a mapping, found str") as caught:
        core_file({"MQ": "amqp://ann:s3cret@mq1"}, {})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"STEP_TRIGGERS": [], "MORE": 1}', "MORE"),
        ('{"STEP_TRIGGER": []}', "STEP_TRIGGERS"),
        ('{"STEP_TRIGGERS": [{}]}', "'WHEN' is missing"),
        ('{"STEP_TRIGGERS": {"WHEN": {}}}', "list"),
        ('{"steps": []}', "triggers"),
        ("[]", "mapping"),
        ("{", "neither JSON nor YAML"),
    ],
)
def test_error_names_the_file_of_triggers_when_it_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "triggers.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        core_file(triggers=str(path), environ={})
    assert "triggers.json" in str(caught.value)


def test_value_that_contains_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    action = {"name": "x", "command": "a", "subcommand": "b", "parameters": loop}
    with pytest.raises(ConfigError, match="too deep"):
        core_settings({"post_deploy_actions": [action]}, {})
