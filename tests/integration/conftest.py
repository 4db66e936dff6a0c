"""A RabbitMQ with its management plugin, for tests of topologies."""

from contextlib import closing

import pytest

from tests.conftest import fresh_vhost, require_server
from tests.integration.topology_support import Plugin, Typist, channel_of, connected
from tests.support import rabbitmq as rabbitmq_server


@pytest.fixture(scope="session")
def plugin():
    """Give a node that all tests share."""
    require_server("RabbitMQ", rabbitmq_server.is_installed())
    made = Plugin()
    with made.node:
        yield made


@pytest.fixture
def plugin_vhost(plugin):
    """Give the name of a fresh virtual host."""
    name = plugin.node.add_vhost(fresh_vhost())
    yield name
    plugin.node.delete_vhost(name)


@pytest.fixture
def seeing(plugin, plugin_vhost, tmp_path, monkeypatch, capsys):
    """Give a typist who sees everything."""
    monkeypatch.setenv("REWORKER_MANAGEMENT", plugin.url)
    return Typist(tmp_path, plugin.node.url(plugin_vhost), monkeypatch, capsys)


@pytest.fixture
def seen_channel(seeing):
    """Give a channel of guest."""
    with closing(connected(seeing.url)) as connection:
        yield channel_of(connection)
