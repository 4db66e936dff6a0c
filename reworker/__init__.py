"""reworker runs release steps on RabbitMQ: workers, playbooks, and a core that survives its own death."""

from importlib.resources import files

__version__ = (files(__name__) / "VERSION").read_text(encoding="utf-8").strip()
__all__ = ["__version__"]
