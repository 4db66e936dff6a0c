"""Leases of steps for workers that ask over HTTP: they poll, and report in their own time."""
