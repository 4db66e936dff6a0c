"""Files in conf/: what the tests of workers and core do not say of them already."""

import re

import msgspec

from replugin.megafrobberworker import MegafrobberWorker
from replugin.noopworker import NoopWorker
from reworker.config import MQ_KEYS, MqSettings, mq_settings
from reworker.topology.file import load_topology
from reworker.topology.model import core_topology
from reworker.topology.parsing import (
    BINDING_KEYS,
    CLIENT_KEYS,
    CORE_KEYS,
    EXCHANGE_KEYS,
    QUEUE_KEYS,
    SECTIONS,
    WORKER_KEYS,
)
from reworker.web.conductor.settings import ConductorSettings, load_settings
from tests.docs.pages import ROOT

CONF = ROOT / "conf"


def test_mq_example_shows_every_key_and_its_default():
    keys = set(re.findall(r"^(?:# )?([a-z_]+):", (CONF / "mq.yaml").read_text(), re.MULTILINE))
    assert keys == MQ_KEYS
    assert mq_settings(str(CONF / "mq.yaml")) == MqSettings()


def test_worker_example_has_the_defaults():
    plain, read = NoopWorker({}), NoopWorker({}, config_file=str(CONF / "worker.yaml"))
    # A worker with steps has another default for this one, as the file says.
    same_level = msgspec.structs.replace(read._settings, output_level=plain._settings.output_level)
    assert same_level == plain._settings


def test_conductor_example_shows_every_key_and_its_default():
    keys = set(re.findall(r"^([a-z_]+):", (CONF / "conductor.yaml").read_text(), re.MULTILINE))
    assert keys == set(ConductorSettings.__struct_fields__)
    assert load_settings(str(CONF / "conductor.yaml")) == ConductorSettings()


def test_topology_example_shows_every_key():
    text = (CONF / "topology.yaml").read_text()
    known = {*SECTIONS, *EXCHANGE_KEYS, *QUEUE_KEYS, *BINDING_KEYS, *WORKER_KEYS, *CORE_KEYS, *CLIENT_KEYS}
    assert known - set(re.findall(r"\b([a-z_]+):", text)) == set()
    topology = load_topology(str(CONF / "topology.yaml"))
    declared = (core_topology(queue_type="classic"), MegafrobberWorker({})._settings.topology())
    assert [one for part in declared for one in part.queues if one not in topology.wanted.queues] == []
