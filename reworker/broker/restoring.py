"""Build vhosts again from what the store kept over a restart."""

from __future__ import annotations

from reworker.broker.codec import decode_table
from reworker.broker.model import Runtime
from reworker.broker.store import Store
from reworker.broker.vhost import VHost


def restored_vhosts(store: Store, runtime: Runtime) -> dict[str, VHost]:
    """Return the kept vhosts by name, their durable definitions and persistent messages in place."""
    vhosts = {name: _restored(name, store, runtime) for name in store.definitions.vhosts()}
    for vhost in vhosts.values():
        # first now, when every dead-letter exchange is there: this may expire messages
        vhost.store = store
        for queue in list(vhost.queues.values()):
            queue.dispatch()
    return vhosts


def _restored(name: str, store: Store, runtime: Runtime) -> VHost:
    vhost = VHost(name, runtime)
    for exchange in store.definitions.exchanges(name):
        vhost.declare_exchange(exchange)
    for kept in store.definitions.queues(name):
        arguments = decode_table(kept.arguments)
        queue = vhost.new_queue(kept.name, arguments, durable=True, auto_delete=kept.auto_delete, owner=None)
        queue.store_id = kept.store_id
        vhost.declare_queue(queue)
        for entry in store.entries(kept.store_id):
            queue.restore(entry)
    for binding in store.definitions.bindings(name):
        vhost.bind(binding, decode_table(binding.arguments))
    return vhost
