"""The HTTP side: one application, thin adapters over the core's service."""
