"""Exchanges, queues and bindings of the system: their names, and what each part of it declares."""
