"""Conductor's HTTP API, so that workers of its clients complete our steps; see docs/conductor.md."""
