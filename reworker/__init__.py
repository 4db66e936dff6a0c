"""reworker runs release steps on RabbitMQ: workers, playbooks, and a core that survives its own death."""

__version__ = "0.1.0"
